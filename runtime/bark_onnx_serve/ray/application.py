"""The application of Ray Serve, and how Ray is to treat its replicas."""

from typing import TYPE_CHECKING, Any

from .arguments import Arguments

if TYPE_CHECKING:
    from ray.serve import Application

NAME = "bark-onnx"  # of the deployment

# Requests that a replica answers beside those that it generates for: lists, the page, and refusals in OpenAI's form.
SPARE_REQUESTS = 64
# What waits in each of Ray's proxies while all replicas have as many requests as they take. Beyond it, Ray answers with
# status 429 and plain text.
QUEUED_IN_PROXY = 1024
HEALTH_CHECK_SECONDS = 1.0


def app(arguments: Arguments) -> "Application":
    """Build the application. Ray calls it with what `serve run` or a configuration has as `args`.

    Raises BarkError if a value is impossible.
    """
    from ray import serve

    from .replica import Replica

    arguments.check()
    ingress = serve.ingress()(Replica)
    return serve.deployment(**_options(arguments))(ingress).bind(arguments)


def _options(arguments: Arguments) -> dict[str, Any]:
    scaling: dict[str, Any] = {"num_replicas": arguments.replicas}
    if arguments.max_replicas is not None:
        target = arguments.target_ongoing_requests or arguments.slots
        scaling = {
            "autoscaling_config": {
                "min_replicas": arguments.replicas,
                "max_replicas": arguments.max_replicas,
                "target_ongoing_requests": target,
            }
        }
    return {
        "name": NAME,
        # Ray takes more requests from the proxy than the engine: a replica refuses what is too much with a time to come
        # back, which Ray cannot know.
        "max_ongoing_requests": arguments.slots + arguments.max_queue + SPARE_REQUESTS,
        "max_queued_requests": QUEUED_IN_PROXY,
        "backpressure_config": {"status_code": 429, "retry_after_s": 1},
        "graceful_shutdown_timeout_s": arguments.request_seconds,
        "health_check_period_s": HEALTH_CHECK_SECONDS,
        "ray_actor_options": {"num_cpus": arguments.threads, "num_gpus": int(arguments.uses_gpu)},
        **scaling,
    }
