"""The files in `docker/` say what the tools that read them, and our own command line, understand."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from isoflop.cli.main import app
from isoflop.workers.sweep import load_sweep

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
FILES = ("Dockerfile", "compose.yaml", "ray-cluster.yaml", "rayjob.yaml", "README.md")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DOCKER / name).read_text()))


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with continued lines joined."""
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_image_copies_what_the_build_needs() -> None:
    about = project()["project"]
    copied = {word for verb, rest in instructions() if verb == "COPY" for word in rest.split()[:-1]}
    links = {path.name for path in (ROOT / "isoflop").iterdir() if path.is_symlink()}
    assert {"pyproject.toml", about["readme"], *about["license-files"], "isoflop", *links} <= copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_installs_the_versions_that_the_project_asks_for() -> None:
    asked = [requirement.replace(" ", "") for requirement in project()["project"]["dependencies"]]
    text = (DOCKER / "Dockerfile").read_text()
    for package in ("torch", "ray", "duckdb"):
        [wanted] = [one for one in asked if re.match(rf"{package}\b", one)]
        assert f'"{wanted}"' in text
    assert project()["project"]["requires-python"] == ">=3.11"
    assert ("FROM", "python:3.11-slim") in instructions()


def test_the_image_runs_as_a_user_and_asks_for_a_token() -> None:
    found = instructions()
    assert ("USER", "isoflop") in found
    assert any(verb == "ENV" and "RAY_AUTH_MODE=token" in rest for verb, rest in found)


def test_compose_names_a_head_workers_and_a_database() -> None:
    [compose] = documents("compose.yaml")
    services = compose["services"]
    assert set(services) == {"head", "worker", "postgres"}
    for name in ("head", "worker"):
        assert services[name]["environment"]["RAY_AUTH_MODE"] == "token"
        assert services[name]["environment"]["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_token"
        assert "ray_token" in services[name]["secrets"]
        assert services[name]["command"].startswith("ray start ")
    assert (ROOT / "docker" / services["head"]["build"]["context"] / services["head"]["build"]["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for port in services["head"]["ports"])
    used = {
        mount.split(":")[0] for service in services.values() for mount in service["volumes"] if mount[0] not in "./"
    }
    assert used == set(compose["volumes"])
    assert {secret for service in services.values() for secret in service["secrets"]} == set(compose["secrets"])


def test_the_cluster_file_is_what_ray_up_reads() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    [cluster] = documents("ray-cluster.yaml")
    prepared = prepare_config(cluster)
    validate_config(prepared)  # against the schema that comes with Ray
    assert prepared["available_node_types"]["local.cluster.node"]["min_workers"] == 2
    assert len(cluster["provider"]["worker_ips"]) == cluster["max_workers"]
    commands = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    assert all("RAY_AUTH_MODE=token" in command for command in commands)


def test_the_job_manifest_has_what_kuberay_needs(tmp_path: Path) -> None:
    sweeps, claim, job = documents("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]["rayClusterSpec"]
    assert spec["authOptions"] == {"mode": "token"}
    pods = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    containers = [container for pod in pods for container in pod["template"]["spec"]["containers"]]
    assert {container["image"] for container in containers} == {"isoflop"}
    head = spec["headGroupSpec"]["template"]["spec"]
    assert {mount["name"] for mount in head["containers"][0]["volumeMounts"]} == {v["name"] for v in head["volumes"]}
    assert head["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert head["volumes"][1]["configMap"]["name"] == sweeps["metadata"]["name"]
    file = shlex.split(job["spec"]["entrypoint"])[2]
    assert Path(file).parent == Path("/sweeps")
    (tmp_path / "sweep.yaml").write_text(sweeps["data"][Path(file).name])
    assert len(load_sweep(tmp_path / "sweep.yaml").expand()) == 4


@pytest.mark.parametrize("name", FILES)
def test_every_isoflop_command_in_them_exists(name: str) -> None:
    import typer.main

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = commands_of("isoflop", name) + commands_of("isoflop/__main__.py", name)
    assert found or name == "Dockerfile"
    for verb, options in found:
        if verb.startswith("-"):
            continue
        assert verb in commands, f"{name}: isoflop {verb}"
        known = {option for parameter in commands[verb].params for option in parameter.opts}
        assert set(options) <= known, f"{name}: isoflop {verb} has no {set(options) - known}"


@pytest.mark.parametrize("name", FILES)
def test_every_ray_command_in_them_exists(name: str) -> None:
    from ray.scripts.scripts import cli

    for verb, options in commands_of("ray", name):
        assert verb in cli.commands, f"{name}: ray {verb}"
        assert verb != "stop"  # it ends every Ray process of the machine
        command = cli.commands[verb]
        if verb in ("submit", "job"):
            continue  # what follows is another command
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(options) <= known, f"{name}: ray {verb} has no {set(options) - known}"


def commands_of(program: str, name: str) -> list[tuple[str, list[str]]]:
    """The uses of a program in a file: its verb and the options after it."""
    text = re.sub(r"\\\n", " ", (DOCKER / name).read_text())
    text = text.replace("[CMD, ray, status,", "ray status").replace("__main__.py -- ", "__main__.py ")
    pattern = rf"(?:^|[\s`;\"]){re.escape(program)} (\S+)((?: [^`;|>#\n&]+)?)"
    uses = re.findall(pattern, text, re.MULTILINE)
    return [
        (verb, re.findall(r"(?<=\s)--[a-z][a-z-]*", rest))
        for verb, rest in uses
        if re.fullmatch(r"[a-z-]+", verb) and verb != "isoflop"  # `-t isoflop isoflop sweep` names the image first
    ]
