"""One docker-registry for all cases of fault_*.py, images to push, and the two good outcomes.

After a fault there are only two good outcomes. Either the image is in the real registry, whole and under the right
digest; or the command fails in time with a message that says what is wrong, and there is no tag.
"""

import base64
import json
import os
import re
import subprocess

from proxy import Proxy
from registries import Reader, Registry
from rig import make_image

PASSWORD = "correct-horse-battery-staple"
JSON = [("Content-Type", "application/json")]
HTML = [("Content-Type", "text/html; charset=utf-8")]
PAGE = b"<!DOCTYPE html><html><head><title>Bad day</title></head><body><h1>The gateway had a bad day</h1></body></html>"
UPLOADS = "/blobs/uploads/"


def error(code, message):
    return ('{"errors":[{"code":"%s","message":"%s"}]}' % (code, message)).encode()


def answer(status, fields=(), body=b""):
    """For Fault.answer and Fault.lost: answers with this status, whatever was asked."""
    return lambda exchange: exchange.reply(status, list(fields), body)


def edit_location(edit):
    """For Fault.change: changes the Location of an upload. `edit` gets the exchange and the URL."""

    def change(exchange, head):
        if head.get("location") and UPLOADS in head.get("location"):
            head.set("Location", edit(exchange, head.get("location")))

    return change


def log_in(case, host, user, password):
    """Writes Docker's config.json into the case's home."""
    folder = os.path.join(case.environment["HOME"], ".docker")
    os.makedirs(folder, exist_ok=True)
    text = base64.b64encode(("%s:%s" % (user, password)).encode()).decode()
    with open(os.path.join(folder, "config.json"), "w") as out:
        json.dump({"auths": {host: {"auth": text}}}, out)


def make_model_image(suite, shard_size="300K"):
    """Makes a layout with the demo's model in an image, as `hotlayer image` does; returns its folder."""
    folder = suite.work + "/model-" + shard_size
    model = os.path.join(os.path.dirname(__file__), "../../examples/demo/model")
    for command in (
        ["pack", model, "--name", "demo", "-o", folder + ".hot", "--quant", "keep", "--shard-size", shard_size],
        ["image", folder + ".hot", "--runtime", suite.hotlayer + "d", "-o", "oci:%s:one" % folder],
    ):
        subprocess.run([suite.hotlayer] + command, check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
    return folder


def complains(case, result, words, most=60, what=""):
    """Checks the second good outcome of any command."""
    case.check(what + "fails with status 1", result.status == 1, result)
    case.check(what + "says why", re.search(words, result.err, re.I | re.S), "no /%s/ in\n%s" % (words, result))
    case.check(what + "in time", result.seconds < most, result)
    case.check(what + "in words for people", not re.search(r"[\x00-\x08\x0b-\x1f\x7f]|<html", result.err), result)


class World:
    """The registry and the images. Layers of `sizes` bytes are above and below the limit for 100-continue."""

    sizes = [3 << 20, 1500000, 200000]

    def __init__(self, suite, public=False):
        self.suite, self.public = suite, public
        self.registry = suite.stack.enter_context(Registry(suite.work + "/registry"))
        self.reader = Reader(self.registry.host)
        self.image = suite.work + "/image"
        self.digest = make_image(self.image, self.sizes, 1)
        self.model = make_model_image(suite)  # with a model in it, for commands that read its layers
        suite.secrets.add_login("kim", PASSWORD)

    def proxy(self, case, *faults, **settings):
        return case.use(Proxy(self.registry.host, faults, **settings))

    def push(self, case, host, *options, image=None, seconds=75, tag="one"):
        return case.hotlayer(
            "push",
            "oci:%s:one" % (image or self.image),
            "%s/%s:%s" % (host, case.repository, tag),
            *options,
            seconds=seconds
        )

    def bake(self, case, host, *options, seconds=75):
        """Runs `hotlayer image --push`: makes a layer's bytes while sending them."""
        return case.hotlayer(
            "image",
            self.model + ".hot",
            "--runtime",
            self.suite.hotlayer + "d",
            "--push",
            "%s/%s:one" % (host, case.repository),
            *options,
            seconds=seconds
        )

    def pushed(self, case, result, reader=None, digest=None, tag="one"):
        """Checks the first good outcome."""
        reader, digest = reader or self.reader, digest or self.digest
        case.check("is pushed", result.status == 0, result)
        case.check("the last line is the digest", result.last.endswith(digest), result)
        case.check("the tag has the right digest", reader.digest(case.repository, tag) == digest, result)
        case.check("nothing is damaged", reader.damage(case.repository, tag) == "", reader.damage(case.repository, tag))
        verified = case.hotlayer("verify", "%s/%s:%s" % (reader.host, case.repository, tag))
        case.check("verify passes", verified.status == 0, verified)

    def refused(self, case, result, words, reader=None, most=60):
        """Checks the second good outcome of a push: `words` is a pattern of the message."""
        reader = reader or self.reader
        complains(case, result, words, most)
        case.check("writes nothing to stdout", result.out == "", result)
        case.check("no tag", reader.tags(case.repository) == [], reader.tags(case.repository))
