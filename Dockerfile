# The course with all that it needs, for a user who is not root.
#
# The CPU build of torch: give the index address that pytorch.org shows for Linux, Pip and CPU.
#   docker build --build-arg TORCH_INDEX=<that address> -t finetuning-course .
# JupyterLab listens inside the container alone unless asked to be reachable; here, from this machine only:
#   docker run --rm -it -p 127.0.0.1:8888:8888 finetuning-course lab --no-browser --ip=0.0.0.0
# Progress and models are kept in a volume: -v course-home:/home/learner/course
FROM python:3.12-slim-bookworm

ARG TORCH_INDEX=""
RUN useradd --create-home --uid 1000 learner \
    && install --directory --owner=learner --group=learner /course /opt/course
USER learner
WORKDIR /course
ENV PATH=/opt/course/bin:$PATH \
    COURSE_HOME=/home/learner/course \
    PYTHONUNBUFFERED=1
RUN python -m venv /opt/course && mkdir /home/learner/course

COPY --chown=learner:learner . .
RUN PIP_EXTRA_INDEX_URL="$TORCH_INDEX" python -m pip install --no-cache-dir \
    --constraint constraints.txt --editable ".[lab,compare]"

EXPOSE 8888
ENTRYPOINT ["python", "-m", "course_utils"]
CMD ["lab", "--no-browser"]
