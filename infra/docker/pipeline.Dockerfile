# The pipeline: ingest, build, flows and the Prefect server's own command.
#   docker build -f infra/docker/pipeline.Dockerfile -t tokenmill .
#   docker run -e PREFECT_API_URL=http://prefect:4200/api -v tokenmill:/var/lib/tokenmill tokenmill serve
FROM python:3.12-slim AS build
WORKDIR /source
RUN python -m venv /opt/tokenmill
COPY infra/locks/pipeline.txt infra/locks/
RUN /opt/tokenmill/bin/pip install --no-cache-dir --require-hashes --no-deps -r infra/locks/pipeline.txt
COPY pyproject.toml README.md LICENSE ./
COPY agents agents
COPY pipelines pipelines
COPY sql sql
RUN /opt/tokenmill/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
COPY --from=build /opt/tokenmill /opt/tokenmill
RUN useradd --system --home-dir /var/lib/tokenmill --create-home tokenmill
USER tokenmill
ENV TOKENMILL_PIPELINE_DATA_DIR=/var/lib/tokenmill
WORKDIR /var/lib/tokenmill
ENTRYPOINT ["/opt/tokenmill/bin/tokenmill"]
CMD ["serve"]
