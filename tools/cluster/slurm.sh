#!/bin/bash
# Trains on several machines under SLURM, one process on each:
#
#   sbatch tools/cluster/slurm.sh --config configs/cityscapes.yaml --train.batch_size 256
#
# Records and run_dir must be visible to all machines. Before the time limit, training stops after its current step; the
# same command resumes it, as after a lost machine.
#SBATCH --job-name=tfseg
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@300
set -euo pipefail

WORKERS=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed 's/.*/"&:2222"/' | paste -sd,)
export WORKERS
# shellcheck disable=SC2016  # each task expands its own
srun --kill-on-bad-exit=1 bash -c '
export TF_CONFIG="{\"cluster\": {\"worker\": [$WORKERS]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
exec python -m tfseg.train --accelerator.strategy multiworker "$@"
' bash "$@"
