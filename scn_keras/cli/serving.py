"""The command `scn-keras serve`."""

import pathlib

import click

from scn_keras.cli._command import command_function


@click.command()
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 for all interfaces of this machine.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Maximum number of waiting images in one batch; 1 disables batching.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    help="Label of the version in addresses, as in TF Serving; may be repeated.",
)
@click.option(
    "--access-log/--no-access-log",
    default=True,
    show_default=True,
    help="Log one line for each request, without images, names or points.",
)
@command_function
def serve(
    model: pathlib.Path,
    host: str,
    port: int,
    batch_size: int,
    labels: tuple[str, ...],
    access_log: bool,
) -> None:
    """Serve a MODEL on this machine, with a page to try it.

    MODEL is a run, the name or the folder of a preset, or an exported model. The server
    implements the REST API of TF Serving, for development and teaching. In production,
    load the exported folder in TF Serving.
    """
    try:
        from scn_keras.saved_models.server.server import serve as serve_model
    except ModuleNotFoundError as error:
        raise ImportError(
            f"The server requires {error.name}, which is not installed. Install it "
            "with `pip install 'scn-keras[serve]'`."
        ) from error
    serve_model(model, host, port, batch_size, click.echo, labels, access_log)
