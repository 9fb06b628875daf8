#!/usr/bin/env bash
# Scores shards in a bucket on Google Cloud Dataflow. The image is in a registry that the project can read.
set -eu
PROJECT=${PROJECT:-my-project}
REGION=${REGION:-europe-west1}
BUCKET=${BUCKET:-gs://my-bucket}
IMAGE=${IMAGE:-$REGION-docker.pkg.dev/$PROJECT/tfae/beam:1}

# One process per machine shares the model among its threads.
docker run --rm -v "$HOME/.config/gcloud:/root/.config/gcloud" --entrypoint tfae "$IMAGE" \
    score /models/credit "$BUCKET/shards/*.parquet" -o "$BUCKET/scores/part.parquet" --keep id \
    --runner DataflowRunner -- \
    --project="$PROJECT" --region="$REGION" --job_name=tfae-score \
    --temp_location="$BUCKET/temp" --staging_location="$BUCKET/staging" \
    --sdk_container_image="$IMAGE" --sdk_location=container \
    --max_num_workers=20 --experiments=no_use_multiple_sdk_containers
