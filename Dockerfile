# One image for every Airflow component. Dependencies come hash-locked from uv.lock, as wheels only: nothing is compiled.
FROM python:3.12-slim-bookworm

# Pango and a font: what writes the letters.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core \
    && rm -rf /var/lib/apt/lists/*

RUN pip install --no-cache-dir uv==0.13.9 \
    && useradd --create-home --uid 10001 regua \
    # Named volumes take their owner from these folders the first time they are mounted.
    && install --directory --owner regua --group regua \
        /opt/regua /var/lib/airflow /var/lib/airflow/logs /var/lib/regua /var/lib/regua/serving /var/lib/inbox

USER regua
WORKDIR /opt/regua
ENV PATH=/opt/regua/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_BUILD=1 \
    UV_PYTHON_DOWNLOADS=never

# The lock alone decides this layer, the slow one.
COPY --chown=regua:regua pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev --extra production --no-install-project --no-cache

COPY --chown=regua:regua README.md LICENSE ./
COPY --chown=regua:regua plugins plugins
COPY --chown=regua:regua dags dags
COPY --chown=regua:regua dbt_project dbt_project
COPY --chown=regua:regua include include
COPY --chown=regua:regua scripts/airflow-health scripts/
RUN uv sync --frozen --no-dev --extra production --no-cache

ENV AIRFLOW_HOME=/var/lib/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/regua/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/regua/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    DBT_SEND_ANONYMOUS_USAGE_STATS=False \
    GX_ANALYTICS_ENABLED=False \
    REGUA_ENV=production \
    REGUA_HOME=/var/lib/regua \
    REGUA_INBOX=/var/lib/inbox
CMD ["airflow", "version"]
