#!/usr/bin/env bash
# Scores shards on a Flink cluster. Folder and image are the same on all machines; beside each task manager runs
#   docker run -d --network host -v /mnt/data:/mnt/data "$IMAGE" --worker_pool
set -eu
IMAGE=${IMAGE:-registry.example.com/tfae-beam:1}
FLINK=${FLINK:-flink-jobmanager:8081}

docker run --rm --network host -v /mnt/data:/mnt/data --entrypoint tfae "$IMAGE" \
    score /models/credit '/mnt/data/shards/*.parquet' -o /mnt/data/scores/part.parquet --keep id \
    --runner FlinkRunner -- \
    --flink_master="$FLINK" --flink_version=1.20 --flink_submit_uber_jar --parallelism=8 \
    --environment_type=EXTERNAL --environment_config=localhost:50000
