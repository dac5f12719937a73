"""The arguments of the application for Ray Serve, and the configurations that are examples. Ray is not started."""

from dataclasses import fields
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from bark_onnx import BarkError
from bark_onnx_serve.ray import app
from bark_onnx_serve.ray.arguments import Arguments
from bark_onnx_serve.settings import Settings
from markdown_pages import ROOT, Page

EXAMPLES = ROOT / "examples" / "ray"


def deployment(**arguments: Any) -> Any:
    """The deployment that Ray gets, with its options."""
    return app(Arguments(**arguments))._bound_deployment


def test_without_arguments_a_replica_has_the_servers_defaults() -> None:
    assert Arguments().settings() == Settings()


def test_every_setting_is_an_argument_or_has_no_meaning_behind_ray() -> None:
    elsewhere = {"host", "port", "root_path", "wyoming", "drain_seconds", "api_keys", "allow_voice_upload"}
    settings = {field.name for field in fields(Settings)}
    assert settings - elsewhere == settings & Arguments.model_fields.keys()
    assert elsewhere <= settings


def test_arguments_of_the_command_line_are_texts() -> None:
    given = {
        "slots": "2", "max_seconds_queued": "3.5", "cors": "https://a.example https://b.example",
        "voice_aliases": "narrator=v2/en_speaker_6 other=v2/en_speaker_9",
    }  # fmt: skip
    settings = Arguments.model_validate(given).settings()
    assert (settings.slots, settings.max_seconds_queued) == (2, 3.5)
    assert settings.cors == ("https://a.example", "https://b.example")
    assert settings.voice_aliases == {"narrator": "v2/en_speaker_6", "other": "v2/en_speaker_9"}


def test_a_replica_refuses_before_ray_does() -> None:
    """All requests that the engine has a place for, and some that are refused, reach the replica."""
    made = deployment(slots=3, max_queue=5, request_seconds=700)
    assert made.max_ongoing_requests > 3 + 5
    assert made.max_queued_requests > made.max_ongoing_requests
    assert made._deployment_config.graceful_shutdown_timeout_s == 700
    assert made._deployment_config.backpressure_config.status_code == 429


def test_threads_are_cpus_and_devices_are_gpus() -> None:
    assert deployment(threads=3).ray_actor_options == {"num_cpus": 3, "num_gpus": 0}
    assert deployment(device="cuda").ray_actor_options == {"num_cpus": 1, "num_gpus": 1}


def test_autoscaling_begins_with_the_slots() -> None:
    scaling = deployment(replicas=2, max_replicas=6, slots=5)._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas, scaling.target_ongoing_requests) == (2, 6, 5)
    assert deployment(replicas=2)._deployment_config.autoscaling_config is None


def test_keys_come_from_the_environment_of_the_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them the replica does not start, rather than be open to everybody."""
    arguments = Arguments(api_key_variable="SECRET")
    app(arguments)  # whoever deploys needs no keys
    with pytest.raises(BarkError, match="SECRET of the replica has no API key"):
        arguments.settings()
    monkeypatch.setenv("SECRET", "one two")
    assert arguments.settings().api_keys == ("one", "two")


@pytest.mark.parametrize(
    "wrong", [{"slot": 3}, {"slots": 0}, {"threads": 0}, {"max_replicas": 0}, {"api_keys": ["one"]}], ids=str
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Arguments(**wrong)


@pytest.mark.parametrize("wrong", [{"replicas": 3, "max_replicas": 2}, {"cors": ("example.org",)}], ids=str)
def test_impossible_arguments_are_refused_before_they_are_deployed(wrong: dict[str, Any]) -> None:
    with pytest.raises(BarkError):
        app(Arguments(**wrong))


def configurations() -> list[Any]:
    """Of the examples, as Ray Serve gets them."""
    service = yaml.safe_load((EXAMPLES / "rayservice.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == ("ray.io/v1", "RayService")
    return [yaml.safe_load((EXAMPLES / "serve.yaml").read_text()), yaml.safe_load(service["spec"]["serveConfigV2"])]


@pytest.mark.parametrize("number", [0, 1], ids=["serve", "rayservice"])
def test_the_examples_are_configurations_of_ray(number: int) -> None:
    configuration = ServeDeploySchema.model_validate(configurations()[number])
    (application,) = configuration.applications
    module, _, name = application.import_path.partition(":")
    assert (module, name) == (app.__module__.removesuffix(".application"), app.__name__)
    app(Arguments.model_validate(application.args))


def test_the_kubernetes_example_has_room_for_its_replicas() -> None:
    service = yaml.safe_load((EXAMPLES / "rayservice.yaml").read_text())
    arguments = Arguments.model_validate(configurations()[1]["applications"][0]["args"])
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    pod = group["template"]["spec"]
    (container,) = pod["containers"]
    cpus = int(container["resources"]["limits"]["cpu"])
    assert arguments.max_replicas is not None
    assert group["maxReplicas"] * cpus >= arguments.max_replicas * arguments.threads
    assert pod["terminationGracePeriodSeconds"] > arguments.request_seconds
    assert [variable["name"] for variable in container["env"]] == [arguments.api_key_variable]


def test_the_commands_of_the_docs_have_arguments_that_exist() -> None:
    commands = [words for _, words in Page.read(ROOT / "docs" / "ray.md").commands if words[:2] == ["serve", "run"]]
    assert commands
    for command in commands:
        given = dict(word.partition("=")[::2] for word in command[3:] if not word.startswith("-") and "=" in word)
        assert command[2] == "bark_onnx_serve.ray:app"
        app(Arguments.model_validate(given))
