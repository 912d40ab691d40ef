# The agent alone: the context needs pyproject.toml, README.md, LICENSE, agents/ and infra/locks/kubernetes.txt.
#   docker build -f infra/docker/agent.Dockerfile -t tokenmill-agent .
#   docker run --gpus all --pid host --network host -v /etc/tokenmill:/etc/tokenmill:ro tokenmill-agent
FROM python:3.12-slim AS build
WORKDIR /source
RUN python -m venv /opt/tokenmill
COPY infra/locks/kubernetes.txt infra/locks/
RUN /opt/tokenmill/bin/pip install --no-cache-dir --require-hashes --no-deps -r infra/locks/kubernetes.txt
COPY pyproject.toml README.md LICENSE ./
COPY agents agents
RUN /opt/tokenmill/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
COPY --from=build /opt/tokenmill /opt/tokenmill
RUN useradd --system --home-dir /var/lib/tokenmill --create-home tokenmill
USER tokenmill
WORKDIR /var/lib/tokenmill
ENTRYPOINT ["/opt/tokenmill/bin/tokenmill-agent"]
CMD ["run"]
