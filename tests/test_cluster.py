"""What tools/cluster starts: each worker with its own TF_CONFIG; SLURM and python are stood for by scripts."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tfseg.device import read_cluster

CLUSTER = Path(__file__).parents[1] / "tools/cluster"
STANDS = {
    "scontrol": r'test "$*" = "show hostnames node[2,10]" && printf "node2\nnode10\n"',
    "srun": 'shift; for task in 0 1; do SLURM_PROCID=$task "$@"; done',
    "python": 'echo "$TF_CONFIG"; printf "%s|" "$@"; echo',
}


@pytest.fixture
def environment(tmp_path):
    for name, script in STANDS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_NODELIST": "node[2,10]"}


def run(command, environment) -> list[str]:
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_slurm_starts_a_worker_a_node(environment):
    lines = run([CLUSTER / "slurm.sh", "--config", "a config.yaml"], environment)
    clusters = [read_cluster(line) for line in lines[::2]]
    assert clusters == [(["node2:2222", "node10:2222"], index) for index in (0, 1)]
    assert lines[1] == lines[3] == "-m|tfseg.train|--accelerator.strategy|multiworker|--config|a config.yaml|"


def test_kubernetes_starts_a_worker_a_pod(environment):
    service, policy, job = yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text(encoding="utf-8"))
    pod, name = job["spec"]["template"]["spec"], job["metadata"]["name"]
    [container] = pod["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    config, arguments = run(container["command"], {**environment, **variables, "JOB_COMPLETION_INDEX": "3"})
    workers = [f"{name}-{index}.{pod['subdomain']}:2222" for index in range(job["spec"]["completions"])]
    assert read_cluster(config) == (workers, 3)
    assert arguments.startswith("-m|tfseg.train|--config|configs/cityscapes.yaml|")
    assert service["spec"]["selector"] == {"job-name": name}
    assert service["metadata"]["name"] == pod["subdomain"]
    pods = {"podSelector": {"matchLabels": service["spec"]["selector"]}}
    assert policy["spec"] == {**pods, "policyTypes": ["Ingress"], "ingress": [{"from": [pods]}]}
    assert job["spec"]["parallelism"] == job["spec"]["completions"]
