"""Starts LocalStack on loopback: its server ignores an IPv4 host in GATEWAY_LISTEN and binds every interface."""

from twisted.internet import endpoints

tcp4 = endpoints.TCP4ServerEndpoint


def on_loopback(reactor, port, **options):
    return tcp4(reactor, port, **{**options, "interface": "127.0.0.1"})


# Before LocalStack is imported, which takes the name from there.
endpoints.TCP4ServerEndpoint = on_loopback

from localstack.runtime.main import main  # noqa: E402

main()
