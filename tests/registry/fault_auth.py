"""Faults of authentication: tokens that expire, that grant too little, that come from unexpected places."""

import json
import os

from faults import JSON, PAGE, PASSWORD, UPLOADS, edit_location, error, log_in
from fault_upload import endless

from proxy import Fault, Gate, Proxy
from registries import Authority
from rig import PUBLIC
from tokens import TokenServer

RIGHTS = {"": "pull,push"}


class Door:
    """A proxy that asks for the tokens of its own server; the user kim has logged in."""

    def __init__(self, world, case, *faults, rights=None, password=PASSWORD, login=True, **settings):
        self.tokens = case.use(TokenServer(case.folder, {"kim": (PASSWORD, rights or RIGHTS)}, signed=False))
        self.tokens.on_token = world.suite.secrets.add
        self.gate = Gate(tokens=self.tokens)
        self.proxy = world.proxy(case, *faults, gate=self.gate, **settings)
        self.host = self.proxy.host
        if login:
            world.suite.secrets.add_login("kim", password)
            log_in(case, self.host, "kim", password)

    def refusals(self):
        return [r for r in self.proxy.log if r.status == 401]


def add_tokens(suite, world):
    def works(name, prepare, *faults, check=None):
        @suite.case("tokens " + name)
        def _(case):
            door = Door(world, case, *faults)
            prepare(door)
            world.pushed(case, world.push(case, door.host))
            if check:
                check(case, door)

    def settings(**fields):
        def prepare(door):
            for field, value in fields.items():
                setattr(door.tokens, field, value)

        return prepare

    works("for 5 minutes", settings())
    works("for 60 seconds", settings(expires=60))
    works("that do not say for how long", settings(says_expires=False, expires=60))
    works("for 2 seconds, and slow uploads", settings(expires=2), Fault("PUT", UPLOADS, times=None, delay=3))
    works("in the field access_token", settings(field="access_token"))
    works("from a server that looks at the first scope alone", settings(first_scope=True))
    works("of 8 KB", lambda door: setattr(door.tokens, "sign", lambda claims: "t" * 8000 + os.urandom(8).hex()))

    def resent(case, door):
        late = [r for r in door.refusals() if r.received > 1 << 20]
        case.check("no large body came before a 401", not late, late)

    works("that stop working in the middle", lambda door: setattr(door.gate, "revoke_after", 9), check=resent)
    works("that stop working at the manifest", lambda door: setattr(door.gate, "revoke_after", 13), check=resent)

    def few(case, door):
        asked = len(door.tokens.log)
        case.check("one token is asked for, not one a request", asked <= 4, asked)

    works("are kept", settings(), check=few)

    @suite.case("Basic alone")
    def _(case):
        world.suite.secrets.add_login("kim", PASSWORD)
        proxy = world.proxy(case, gate=Gate("kim", PASSWORD))
        log_in(case, proxy.host, "kim", PASSWORD)
        world.pushed(case, world.push(case, proxy.host))
        large = [r for r in proxy.log if r.status == 401 and r.received > 1 << 20]
        case.check("credentials come before large bodies", not large, large)

    @suite.case("a password with odd characters")
    def _(case):
        odd = "pä$$ \"wörd:with:colons%20+&=\\"
        world.suite.secrets.add_login("kim", odd)
        proxy = world.proxy(case, gate=Gate("kim", odd))
        log_in(case, proxy.host, "kim", odd)
        world.pushed(case, world.push(case, proxy.host))


def add_refusals(suite, world):
    def refused(name, words, prepare=lambda door: None, most=20, **settings):
        @suite.case("tokens: " + name)
        def _(case):
            door = Door(world, case, **settings)
            prepare(door)
            world.refused(case, world.push(case, door.host), words, most=most)
            case.check("nothing but questions was sent", door.proxy.received() < 10000, door.proxy.received())
            case.check("it does not ask for ever", len(door.tokens.log) < 20, len(door.tokens.log))

    refused("a wrong password", "kim|log ?in|password|credentials", password="another-password-entirely")
    refused("no credentials", "log ?in|credentials|anonymous", login=False)
    refused(
        "only pull is granted", "push|denied|permission|role|allow", lambda door: setattr(door.tokens, "only", {"pull"})
    )
    refused("rights for another repository", "push|denied|permission|role|allow", rights={"elsewhere/": "pull,push"})
    refused(
        "nothing is ever enough",
        "401|denied|refuse|log ?in|role",
        lambda door: setattr(door.tokens, "holds", lambda token, needs: False),
    )

    def broken(status, kind, body):
        return lambda door: setattr(door.tokens, "broken", (status, kind, body))

    refused("the server has a bad day", "502|token", broken(502, "text/html", PAGE), most=75)
    refused("the server sends a page", "token", broken(200, "text/html", PAGE))
    refused("the server sends no token", "token", broken(200, "application/json", b'{"expires_in":300}'))
    refused("the server sends a number", "token", broken(200, "application/json", b'{"token":17}'))
    refused(
        "a token with a line break",
        "token|credentials|header",
        broken(200, "application/json", b'{"token":"abc\\r\\nX-Evil: yes","expires_in":300}'),
    )
    refused(
        "a token of 4 MB", "token|longer", broken(200, "application/json", b'{"token":"' + b"x" * (4 << 20) + b'"}')
    )
    refused(
        "a reason from the server",
        "account is on holiday",
        broken(403, "application/json", error("DENIED", "account is on holiday")),
    )

    def ask(name, words, challenge, most=20, login=True):
        @suite.case("a challenge " + name)
        def _(case):
            proxy = world.proxy(
                case,
                Fault(
                    None,
                    "",
                    None,
                    early=True,
                    answer=lambda x: x.reply(
                        401,
                        JSON + ([("WWW-Authenticate", challenge)] if challenge else []),
                        error("UNAUTHORIZED", "who?"),
                    ),
                ),
            )
            if login:
                log_in(case, proxy.host, "kim", PASSWORD)
            world.refused(case, world.push(case, proxy.host), words, most=most)

    ask("that is missing", "401|challenge|www-authenticate", None)
    ask("of another kind", "401|challenge|Negotiate|auth", "Negotiate")
    ask("without a realm", "401|challenge|realm|auth", 'Bearer service="x"')
    ask("whose realm is a file", "realm|url|http", 'Bearer realm="file:///etc/passwd",service="x"')
    ask("whose realm is not a URL", "realm|url|http", 'Bearer realm="nowhere",service="x"')
    ask("with an open quote", "401|challenge|realm|auth", 'Bearer realm="http://127.0.0.1/token,service=x')
    ask("of 100 KB", "401|challenge|realm|auth|long", 'Bearer realm="http://127.0.0.1/' + "t" * 100000 + '"')
    ask(
        "whose realm listens to nobody", "connect|token", 'Bearer realm="http://127.0.0.1:9/token",service="x"', most=75
    )
    ask("for Basic, whatever one says", "401|denied|refuse|password|log ?in", 'Basic realm="x"')

    @suite.case("a token server whose answer has no end")
    def _(case):
        server = case.use(Proxy(world.registry.host, [Fault(None, "", None, answer=endless(200))]))
        proxy = world.proxy(case, gate=Gate(tokens=server, realm=server.url + "/token"))
        proxy.gate.allows = lambda head: False
        world.refused(case, world.push(case, proxy.host), "longer|token", most=30)
        case.check("and is not read for ever", server.sent() < 100 << 20, server.sent())

    @suite.case("credentials echoed in an error")
    def _(case):
        """Some servers show the request in their error pages; hotlayer must not print what it sent."""
        world.suite.secrets.add_login("kim", PASSWORD)
        log = Fault(
            "POST",
            UPLOADS,
            None,
            early=True,
            answer=lambda x: x.reply(400, JSON, error("X", "you said: " + x.record.authorization)),
        )
        proxy = world.proxy(case, log, gate=Gate("kim", PASSWORD))
        log_in(case, proxy.host, "kim", PASSWORD)
        result = world.push(case, proxy.host)
        world.refused(case, result, "you said", most=20)


def add_identity(suite, world):
    def identity(name, posts, works=True):
        @suite.case("an identity token " + name)
        def _(case):
            door = Door(world, case, login=False)
            door.tokens.posts = posts
            token = world.suite.secrets.add(door.tokens.identity("kim"))
            folder = os.path.join(case.environment["HOME"], ".docker")
            os.makedirs(folder)
            with open(os.path.join(folder, "config.json"), "w") as out:
                json.dump({"auths": {door.host: {"identitytoken": token}}}, out)
            result = world.push(case, door.host)
            if works:
                world.pushed(case, result)
                case.check("by POST", door.tokens.requests("POST") and not door.tokens.requests("GET"))
            else:
                world.refused(case, result, "token|log ?in|credentials", most=20)
            seen = [r.target for r in door.tokens.log if token in r.target]
            case.check("it is in no URL", not seen, seen)

    identity("is used by POST", True)
    identity("and a server without POST", False, works=False)


def add_public(suite, world):
    """On addresses that look public: what a public registry may make its clients do."""

    def public(case, gate=None, faults=(), tls=None):
        return case.use(Proxy(world.registry.host, faults, gate=gate, tls=tls, address=PUBLIC[0]))

    def case(name):
        def add(function):
            @suite.case("public registry: " + name)
            def _(case):
                if not world.public:
                    case.skip("no network namespace can be made here")
                else:
                    function(case)

        return add

    @case("works")
    def _(case):
        proxy = public(case)
        world.pushed(case, world.push(case, proxy.host, "--plain-http"))

    @case("plain HTTP must be allowed")
    def _(case):
        proxy = public(case)
        world.refused(case, world.push(case, proxy.host), "plain-http|tls|ssl|https")
        case.check("nothing was sent without TLS", not proxy.log, proxy.log)

    for name, realm in (
        ("loopback", "http://127.0.0.1:%d/token"),
        ("a private network", "http://10.0.0.1:%d/token"),
        ("the metadata server", "http://169.254.169.254:%d/token"),
        ("localhost", "http://localhost:%d/"),
        ("a number", "http://2130706433:%d/token"),
        ("IPv6", "http://[::1]:%d/token"),
        ("IPv4 in IPv6", "http://[::ffff:127.0.0.1]:%d/token"),
    ):

        def local(case, realm=realm):
            tokens = case.use(TokenServer(case.folder, {"kim": (PASSWORD, RIGHTS), None: (None, RIGHTS)}, signed=False))
            proxy = public(case, Gate(tokens=tokens, realm=realm % tokens.port))
            log_in(case, proxy.host, "kim", PASSWORD)
            world.refused(case, world.push(case, proxy.host, "--plain-http"), "local|private|realm", most=20)
            case.check("no request came there", not tokens.log, tokens.log)

        case("a realm on " + name)(local)

    @case("a realm without TLS")
    def _(case):
        authority = Authority(case.folder)
        tokens = case.use(TokenServer(case.folder, {"kim": (PASSWORD, RIGHTS)}, signed=False, address=PUBLIC[1]))
        proxy = public(case, Gate(tokens=tokens), tls=authority.context())
        log_in(case, proxy.host, "kim", PASSWORD)
        world.refused(case, world.push(case, proxy.host, "--ca", authority.ca), "https|realm|encrypted|plain", most=20)
        case.check("no password went there", not tokens.log, tokens.log)

    @case("a Location without TLS")
    def _(case):
        authority = Authority(case.folder)
        other = case.use(Proxy(world.registry.host, address=PUBLIC[1]))
        proxy = public(
            case,
            tls=authority.context(),
            faults=[
                Fault(None, UPLOADS, None, change=edit_location(lambda x, url: other.url + "/" + url.split("/", 3)[3]))
            ],
        )
        world.refused(case, world.push(case, proxy.host, "--ca", authority.ca), "https|plain", most=20)
        case.check("nothing went there", not other.log, other.log)

    @case("a download is redirected to loopback")
    def _(case):
        inner = world.proxy(case)
        world.reader.put_image(world.image, case.repository)
        proxy = public(
            case,
            faults=[
                Fault("GET", "/blobs/", None, answer=lambda x: x.reply(307, [("Location", inner.url + x.head.target)]))
            ],
        )
        result = case.hotlayer("verify", "%s/%s:one" % (proxy.host, case.repository), "--plain-http", seconds=60)
        case.check("is refused", result.status == 1 and "redirect" in result.err, result)
        case.check("no request came there", not inner.log, inner.log)

    @case("an upload is sent to loopback")
    def _(case):

        inner = world.proxy(case)
        proxy = public(
            case,
            faults=[
                Fault(None, UPLOADS, None, change=edit_location(lambda x, url: inner.url + "/" + url.split("/", 3)[3]))
            ],
        )
        world.refused(case, world.push(case, proxy.host, "--plain-http"), "local|private|address|location", most=20)
        case.check("no request came there", not inner.log, inner.log)


def add_tls(suite, world):
    @suite.case("TLS: a Location without it stays with it", ["openssl"])
    def _(case):

        authority = Authority(case.folder)
        proxy = world.proxy(
            case,
            Fault(None, UPLOADS, None, change=edit_location(lambda x, url: url.replace("https:", "http:"))),
            tls=authority.context(),
        )
        world.pushed(case, world.push(case, proxy.host, "--ca", authority.ca))

    @suite.case("TLS: an unknown CA", ["openssl"])
    def _(case):
        authority = Authority(case.folder)
        proxy = world.proxy(case, tls=authority.context())
        world.refused(case, world.push(case, proxy.host), "certificate.*--ca|--ca.*certificate", most=20)
        case.check("nothing was sent without TLS", not proxy.log, proxy.log)

    @suite.case("TLS: another name", ["openssl"])
    def _(case):
        authority = Authority(case.folder)
        proxy = world.proxy(case, tls=authority.context())
        host = proxy.host.replace("127.0.0.1", "127.0.0.2")
        result = world.push(case, host, "--ca", authority.ca)
        world.refused(case, result, "connect|certificate|name", most=75)

    @suite.case("TLS: an invalid CA file", ["openssl"])
    def _(case):
        with open(case.path("ca"), "w") as out:
            out.write("no certificate\n")
        authority = Authority(case.folder)
        proxy = world.proxy(case, tls=authority.context())
        world.refused(case, world.push(case, proxy.host, "--ca", case.path("ca")), "--ca|certificate", most=20)


def add(suite, world):
    add_tokens(suite, world)
    add_refusals(suite, world)
    add_identity(suite, world)
    add_public(suite, world)
    add_tls(suite, world)
