"""F1 to F14: no connection, no TLS, or a connection that dies before it has said anything."""

import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver

from core.llm.testing import FakeClock
from core.llm.testing.wire_steps import Fin, Rst, Stall, WaitFor, answer, script
from core.llm.testing.wire_tls import certificate
from tests.faults.rig import OPENAI, SOON, TEXT, black_hole


class Names(AbstractResolver):
    """A resolver under the test's control: a list of addresses, an error, or no answer at all."""

    addresses: list[str] | None = None
    hangs = False

    def __init__(self, **_) -> None:
        self.asked = 0

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        """Answer as the test said."""
        if self.hangs:
            await asyncio.Event().wait()
        if self.addresses is None:
            raise OSError(None, "Name or service not known")
        return [
            {"hostname": host, "host": one, "port": port, "family": socket.AF_INET6 if ":" in one else socket.AF_INET,
             "proto": 0, "flags": socket.AI_NUMERICHOST}
            for one in self.addresses
        ]  # fmt: skip

    async def close(self):
        """Nothing to close."""


def use_names(monkeypatch, *, addresses=None, hangs=False) -> None:
    """Let every name of this test be resolved by `Names`."""
    made = type("ScriptedNames", (Names,), {"addresses": addresses, "hangs": hangs})
    monkeypatch.setattr("aiohttp.connector.DefaultResolver", made)


async def test_f1_unknown_name(make_rig, dialect, monkeypatch):
    """An unknown name is tried twice, costs nothing, and the next candidate follows at once."""
    use_names(monkeypatch)
    rig = await make_rig(dialect, url="http://models.example")
    alone = await rig.generate()
    assert alone.kind == ("network_error", "dns")
    assert alone.billing == ["none", "none"]
    assert "models.example" in str(alone.error)


async def test_f1_unknown_name_falls_back_at_once(make_rig, dialect, monkeypatch):
    """It does not wait for anything that is worth a tenth of a second."""
    rig = await make_rig(dialect, url="http://127.0.0.1:9")
    use_names(monkeypatch)
    chained = await rig.generate("chain")
    assert chained.text == "spare"
    assert sum(attempt.waited for attempt in chained.attempts) < 0.1
    assert chained.seconds < SOON


async def test_f2_resolver_hangs(make_rig, dialect, monkeypatch):
    """Waiting for a name counts as connecting: the limit fires on time."""
    use_names(monkeypatch, hangs=True)
    rig = await make_rig(
        dialect, url="http://models.example", provider={"max_retries": 0, "timeouts": {"connect": 0.2}}
    )
    outcome = await rig.generate()
    assert outcome.kind == ("timeout", "connect_timeout")
    assert outcome.billing == ["none"]
    assert 0.2 <= outcome.seconds < SOON


async def test_f3_connection_refused(make_rig, dialect, closed_port):
    """Retried with back-off, unbilled; another candidate is used where there is one."""
    rig = await make_rig(dialect, url=f"http://127.0.0.1:{closed_port}")
    alone = await rig.generate()
    assert alone.kind == ("network_error", "connect")
    assert alone.billing == ["none"] * 3
    assert (await rig.generate("chain")).text == "spare"


async def test_f4_syn_black_hole(make_rig, dialect):
    """A host that drops packets is given up on at the connect limit."""
    with black_hole() as port:
        rig = await make_rig(dialect, url=f"http://127.0.0.1:{port}", provider={"timeouts": {"connect": 0.2}})
        outcome = await rig.generate("chain")
    assert outcome.text == "spare"
    assert outcome.attempts[0].error_type == "timeout"
    assert outcome.billing[0] == "none"
    assert 0.2 <= outcome.seconds < SOON


async def test_f5_no_free_connection_until_the_deadline(make_rig, dialect):
    """A full pool is our own overload: no request is sent, none is repeated, and nothing was billed."""
    clock = FakeClock()
    rig = await make_rig(dialect, provider={"max_connections": 1}, clock=clock)
    release = asyncio.Event()
    rig.server.will(script(WaitFor(release), *dialect.answer().steps))
    first = asyncio.create_task(rig.generate())
    await rig.server.wait_for_requests(1)
    second = asyncio.create_task(rig.generate(timeout=15))
    await asyncio.sleep(0.05)
    await clock.advance(16)
    outcome = await second
    assert outcome.kind == ("timeout", "pool_exhausted")
    assert outcome.billing == ["none"]
    assert rig.hits == 1
    release.set()
    assert (await first).text == TEXT


@pytest.mark.parametrize("flaw", ["unknown", "expired", "host"])
async def test_f6_certificate_is_not_accepted(make_rig, dialect, tmp_path, flaw):
    """No retry and no relaxing; the request is never sent."""
    made = certificate("other.example" if flaw == "host" else "127.0.0.1", expired=flaw == "expired")
    trusted = certificate().authority if flaw == "unknown" else made.authority
    (tmp_path / "ca.pem").write_bytes(trusted)
    rig = await make_rig(dialect, tls=made.context, provider={"ca_file": str(tmp_path / "ca.pem")})
    alone = await rig.generate()
    assert alone.kind == ("network_error", "tls")
    assert alone.billing == ["none"]
    assert "certificate" in str(alone.error)
    assert (await rig.generate("chain")).text == "spare"
    assert rig.hits == 0


async def test_f6_a_trusted_certificate_is_accepted(make_rig, dialect, tmp_path):
    made = certificate()
    (tmp_path / "ca.pem").write_bytes(made.authority)
    rig = await make_rig(dialect, tls=made.context, provider={"ca_file": str(tmp_path / "ca.pem")})
    rig.server.will(dialect.answer())
    assert (await rig.generate()).text == TEXT


async def test_f7_tls_handshake_stalls(make_rig, dialect):
    rig = await make_rig(dialect, provider={"max_retries": 0})
    short = {"max_retries": 0, "timeouts": {"connect": 0.2}}
    secure = await make_rig(dialect, url=rig.server.url.replace("http:", "https:"), provider=short)
    rig.server.on_connect(script(Stall()))
    outcome = await secure.generate()
    assert outcome.kind == ("timeout", "connect_timeout")
    assert outcome.billing == ["none"]
    assert 0.2 <= outcome.seconds < SOON


async def test_f8_https_to_a_plain_port(make_rig, dialect):
    """Ends within the connect limit, unbilled."""
    plain = await make_rig(dialect)
    short = {"max_retries": 0, "timeouts": {"connect": 0.2}}
    rig = await make_rig(dialect, url=plain.server.url.replace("http:", "https:"), provider=short)
    outcome = await rig.generate()
    assert outcome.kind in {("network_error", "tls"), ("network_error", "connect"), ("timeout", "connect_timeout")}
    assert outcome.billing == ["none"]
    assert outcome.seconds < SOON


async def test_f9_http_to_a_tls_port(make_rig, dialect):
    """The message suggests the scheme."""
    secure = await make_rig(dialect, tls=certificate().context)
    rig = await make_rig(dialect, url=secure.server.url.replace("https:", "http:"), provider={"max_retries": 0})
    outcome = await rig.generate()
    assert outcome.kind[1] in {"connection_lost", "http"}
    assert "scheme" in str(outcome.error) or "https://" in str(outcome.error)
    assert secure.hits == 0


@pytest.mark.parametrize("ending", [Fin(), Rst()], ids=["f10-fin", "f11-rst"])
async def test_f10_f11_reused_connection_is_dead(rig, ending):
    """One free retry: the caller sees one answer, nothing is billed for the dead connection."""
    rig.server.will(rig.dialect.answer(), script(ending, read_body=False), rig.dialect.answer())
    await rig.generate()
    outcome = await rig.generate()
    assert outcome.text == TEXT
    assert rig.hits == 3
    assert outcome.billing == ["none", "settled"]
    assert outcome.attempts[1].waited == 0


async def test_f12_fresh_connection_always_closed(rig):
    """Tried three times; each may have been billed, because the request was out."""
    rig.server.otherwise(script(Fin()))
    outcome = await rig.generate()
    assert outcome.kind == ("network_error", "connection_lost")
    assert outcome.billing == ["ambiguous"] * 3
    assert rig.hits == 3


async def test_f13_proxy_is_down(make_rig, dialect, closed_port):
    proxy = f"http://user:{'canary-password'}@127.0.0.1:{closed_port}"
    rig = await make_rig(dialect, url="http://models.example", provider={"proxy": proxy})
    outcome = await rig.generate()
    assert outcome.kind == ("network_error", "proxy")
    assert set(outcome.billing) == {"none"}
    assert "canary-password" not in str(outcome.error)


async def test_f13_proxy_wants_credentials(make_rig, dialect):
    """A 407 of the proxy is no answer of the provider, and trying again does not help."""
    other = await make_rig(dialect)
    other.server.otherwise(answer(b"", 407, {"Proxy-Authenticate": "Basic"}))
    proxy = other.server.url.replace("http://", "http://user:canary-password@")
    rig = await make_rig(dialect, url="http://models.example", provider={"proxy": proxy})
    outcome = await rig.generate()
    assert outcome.kind == ("network_error", "proxy")
    assert outcome.billing == ["none"]
    assert other.hits == 1
    assert "canary-password" not in str(outcome.error)


async def test_f14_one_of_two_addresses_is_dead(make_rig, monkeypatch):
    """The living address is used without waiting for the dead one, although that comes first."""
    use_names(monkeypatch, addresses=["127.0.0.2", "127.0.0.1"])
    living = await make_rig(OPENAI)
    living.server.will(OPENAI.answer())
    with black_hole("127.0.0.2", living.server.port):
        rig = await make_rig(OPENAI, url=f"http://models.example:{living.server.port}")
        outcome = await rig.generate()
    assert outcome.text == TEXT
    assert outcome.seconds < SOON
