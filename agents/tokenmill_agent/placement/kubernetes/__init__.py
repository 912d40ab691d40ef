"""What holds the GPUs of a Kubernetes node, by the kubelet's own list and the labels of the pods."""
