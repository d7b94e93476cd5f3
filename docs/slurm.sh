#!/bin/bash
# A Ray cluster over the nodes of a Slurm allocation, and one run on it; the results folder is shared by the nodes.
#
#   sbatch --nodes=4 --gpus-per-node=8 --time=12:00:00 docs/slurm.sh recipe.yaml --results /shared/results --cores 8
#
# Only who holds the token in ~/.ray/auth_token reaches the cluster; nodes that do not share the home folder need a copy.
# Everything after the script's name goes to `harness run`. The job ends with the run; submit it again to go on.
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
set -euo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
port=${RAY_PORT:-6379}
cores=${SLURM_CPUS_ON_NODE:-$(nproc)}
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
ray get-auth-token --generate > /dev/null
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
  ray start --head --node-ip-address="$address" --port="$port" --num-cpus="$cores" --disable-usage-stats --block &
for _ in $(seq 120); do (: > "/dev/tcp/$address/$port") 2>/dev/null && break; sleep 1; done

others=$((SLURM_JOB_NUM_NODES - 1))
if [ "$others" -gt 0 ]; then
  srun --overlap --nodes="$others" --ntasks="$others" --exclude="$head" \
    ray start --address="$address:$port" --num-cpus="$cores" --block &
fi

harness run --executor ray --address "$address:$port" "$@"
