import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startReceiver } from "../../../../test/support/webhooks.ts";
import { newSecret } from "../webhooks/signature.ts";
import { createWebhookSender } from "../webhooks/sender.ts";
import { findTarget, isPublicAddress, type Resolve, TargetRefused } from "./target.ts";

/** Addresses that are not of the public internet, or stand for one that is not, in the spellings that resolvers give. */
const notPublic = [
  // This network, loopback, private, shared, link-local with the metadata services
  ..."0.0.0.0 0.1.2.3 127.0.0.1 127.0.0.53 127.1.2.3 127.255.255.255 10.0.0.1 10.255.255.255".split(" "),
  ..."172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255 100.64.0.1 100.100.100.200 100.127.255.255".split(
    " ",
  ),
  ..."169.254.0.1 169.254.169.254 169.254.170.2 168.63.129.16".split(" "),
  // Protocol assignments, documentation, benchmarks, relays, multicast, reserved, broadcast
  ..."192.0.0.1 192.0.0.192 192.0.2.1 198.51.100.7 203.0.113.9 198.18.0.1 198.19.255.255 192.88.99.1".split(
    " ",
  ),
  ..."224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.254 255.255.255.255".split(" "),
  // The same in IPv6
  ..."::1 :: 0:0:0:0:0:0:0:1 fe80::1 fe80::1%eth0 febf::1 fec0::1 fc00::1 fd00:ec2::254 fdff::1 ff02::1 ff0e::1".split(
    " ",
  ),
  ..."2001:db8::1 3fff::1 100::1 2001:2::1 2001:10::1 2001:20::1 5f00::1 4000::1 e000::1".split(" "),
  // IPv4 in IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo
  ..."::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:a9fe:a9fe ::ffff:10.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 ::7f00:1 ::808:808".split(
    " ",
  ),
  ..."::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::a00:1 2002:7f00:1:: 2002:a9fe:a9fe::1".split(
    " ",
  ),
  ..."2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2".split(" "),
  // What is none, or reads as another than it looks
  "",
  "localhost",
  "8.8.8.8/8",
  "08.08.08.08x",
  "1.2.3.4.5",
  "::1::",
];

/** URLs that are refused by how they look, whatever their name resolves to. */
const refusedUrls = [
  // Schemes
  ..."http://hooks.example.com/ ftp://hooks.example.com/ file:///etc/passwd gopher://hooks.example.com:70/_x".split(
    " ",
  ),
  ..."ws://hooks.example.com/ wss://hooks.example.com/ data:text/plain,x javascript:alert(1) blob:https://a.example/x".split(
    " ",
  ),
  ..."ldap://hooks.example.com/ dict://hooks.example.com:11211/ jar:https://hooks.example.com!/ about:blank mailto:a@example.com".split(
    " ",
  ),
  // 127.0.0.1 in decimal, octal, hexadecimal, short and padded forms
  ..."https://127.0.0.1/ https://2130706433/ https://0x7f000001/ https://0x7f.0.0.1/ https://0x7f.0x0.0x0.0x1/".split(
    " ",
  ),
  ..."https://017700000001/ https://0177.0.0.1/ https://0177.0000.0000.0001/ https://127.1/ https://127.0.1/ https://0/".split(
    " ",
  ),
  ..."https://127.0.0.1./ https://0x7f.1/ https://127.0.0.1:8443/ https://0000000177.0.0.1/".split(" "),
  // In other digits and full stops, which parsing makes plain
  "https://①②⑦.⓪.⓪.①/",
  "https://127。0。0。1/",
  "https://１２７.0.0.1/",
  "https://127%2e0%2e0%2e1/",
  "https://%31%32%37.0.0.1/",
  "https://ⓛocalhost/",
  // Metadata and private, as numbers
  ..."https://169.254.169.254/latest/meta-data/ https://2852039166/ https://0xa9fea9fe/ https://0xa9.0xfe.0xa9.0xfe/".split(
    " ",
  ),
  ..."https://0251.0376.0251.0376/ https://10.0.0.1/ https://192.168.1.1/ https://172.16.0.1/ https://3232235777/".split(
    " ",
  ),
  // Public, but an address all the same
  ..."https://8.8.8.8/ https://134744072/ https://[2606:4700:4700::1111]/".split(" "),
  // IPv6
  ..."https://[::1]/ https://[::]/ https://[0:0:0:0:0:0:0:1]/ https://[::ffff:127.0.0.1]/ https://[::ffff:7f00:1]/".split(
    " ",
  ),
  ..."https://[fe80::1]/ https://[fd00:ec2::254]/ https://[64:ff9b::7f00:1]/ https://[2002:7f00:1::]/ https://[::127.0.0.1]/".split(
    " ",
  ),
  "https://[fe80::1%25eth0]/",
  "https://[::1]:8443/",
  // Names without a domain, and ends that mean something else
  ..."https://localhost/ https://LOCALHOST/ https://localhost./ https://localhost:8443/ https://metadata/ https://internal".split(
    " ",
  ),
  ..."https://hooks.example.com./ https://hooks..example.com/ https://.example.com/ https://-hooks.example.com/".split(
    " ",
  ),
  ..."https://example.1/ https://example.0x1/".split(" "),
  // Somebody else's name before the host, and other ways to be misread
  ..."https://user@hooks.example.com/ https://user:pass@hooks.example.com/ https://hooks.example.com@127.0.0.1/".split(
    " ",
  ),
  ..."https://:@hooks.example.com@10.0.0.1/ https://hooks.example.com#@127.0.0.1/ https://hooks.example.com/#fragment".split(
    " ",
  ),
  "https://hooks.example.com\\@127.0.0.1/",
  "https:\\\\hooks.example.com/",
  "https://hooks.example.com/\r\nx: y",
  "https://hooks.example.com/a b",
  " https://hooks.example.com/",
  "https://hooks.exa\tmple.com/",
  "https://hooks.example.com/\u0000",
  // Ports of other services
  ..."https://hooks.example.com:22/ https://hooks.example.com:25/ https://hooks.example.com:80/ https://hooks.example.com:0/".split(
    " ",
  ),
  "https://hooks.example.com:99999/",
  // No URLs
  "",
  "hooks.example.com",
  "//hooks.example.com/",
  "https://",
  "https:///path",
  "https://?",
  "https://[",
  "https://%00/",
  "https://hooks.example.com:22/x",
  "https://0300.0250.1.1/",
  "https://10.1/",
  "https://192.168.257/",
  "https://0xc0a80101/",
  "HTTP://hooks.example.com/",
  "https://_/",
];

const publicly: Resolve = () => Promise.resolve(["93.184.215.14"]);

describe("where webhooks may go", () => {
  test(`${notPublic.length} addresses are not public; public ones are`, () => {
    assert.deepEqual(notPublic.filter(isPublicAddress), []);
    for (const address of [
      "93.184.215.14",
      "8.8.8.8",
      "1.1.1.1",
      "172.32.0.1",
      "100.128.0.1",
      "2606:4700:4700::1111",
      "2a00:1450::1",
    ]) {
      assert.equal(isPublicAddress(address), true, address);
    }
  });

  test(`${refusedUrls.length} URLs are refused before any name is looked up`, async () => {
    const looked: string[] = [];
    const resolve: Resolve = (name) => {
      looked.push(name);
      return publicly(name);
    };
    for (const url of refusedUrls) {
      await assert.rejects(
        findTarget(url, { allowPrivate: false, resolve }),
        TargetRefused,
        JSON.stringify(url),
      );
    }
    assert.deepEqual(looked, []);
  });

  test("usual addresses are taken, and connected to by what was checked", async () => {
    for (const url of [
      "https://hooks.example.com",
      "https://hooks.example.com:443/a?b=c",
      "https://hooks.example.com:8443/",
      "https://a-b.c_d.example.co.uk/%20x",
      "https://bücher.example/",
      "https://EXAMPLE.com/",
    ]) {
      const target = await findTarget(url, { allowPrivate: false, resolve: publicly });
      assert.deepEqual([target.address, target.url.href], ["93.184.215.14", new URL(url).href]);
    }
  });

  test("one address inside is enough to refuse a name; none says the same", async () => {
    const reasons = new Set<string>();
    const answers: Resolve[] = [
      ...notPublic.filter(Boolean).map(
        (address): Resolve =>
          () =>
            Promise.resolve(["93.184.215.14", address]),
      ),
      ...notPublic.map(
        (address): Resolve =>
          () =>
            Promise.resolve([address]),
      ),
      () => Promise.resolve([]),
      () => Promise.reject(new Error("ENOTFOUND")),
    ];
    for (const resolve of answers) {
      await assert.rejects(
        findTarget("https://hooks.example.com/", { allowPrivate: false, resolve }),
        (error: unknown) => {
          assert.ok(error instanceof TargetRefused);
          reasons.add(error.message);
          return true;
        },
      );
    }
    assert.equal(reasons.size, 1, "nobody learns which names exist inside");
  });

  test("names of this machine, looked up for real, are refused", async () => {
    const sender = createWebhookSender({ allowPrivate: false });
    for (const name of ["localhost.localdomain", "nothing.invalid"]) {
      assert.ok(await sender.refusalOf(`https://${name}/`), name);
    }
  });
});

describe("a canary on loopback", () => {
  test("is never connected to, whatever URL, name or redirect leads there", async () => {
    const canary = await startReceiver();
    const { port } = canary;
    const delivery = (url: string) => ({
      delivery_id: "d",
      claim_id: "c",
      endpoint_id: "e",
      attempt: 1,
      payload: "{}",
      secrets: [newSecret()],
      url,
    });
    try {
      const hosts = [
        ..."127.0.0.1 localhost 2130706433 0x7f000001 017700000001 0177.0.0.1 127.1 0 0.0.0.0 [::1] [::] [::ffff:127.0.0.1]".split(
          " ",
        ),
        ..."[::ffff:7f00:1] 127.0.0.1. localhost. user@127.0.0.1 hooks.example.com@127.0.0.1".split(" "),
      ];
      const urls = hosts.flatMap((host) => ["https", "http"].map((scheme) => `${scheme}://${host}:${port}/`));
      const resolvers: Resolve[] = [
        ...["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "64:ff9b::7f00:1"].map(
          (address): Resolve =>
            () =>
              Promise.resolve([address]),
        ),
        () => Promise.resolve(["93.184.215.14", "127.0.0.1"]),
      ];
      const strict = createWebhookSender({
        allowPrivate: false,
        resolve: () => Promise.resolve(["127.0.0.1"]),
      });
      for (const url of [...urls, ...refusedUrls]) {
        assert.equal((await strict.send(delivery(url))).error, "target_refused", JSON.stringify(url));
      }
      for (const resolve of resolvers) {
        const sender = createWebhookSender({ allowPrivate: false, resolve });
        const url = `https://hooks.example.com:${port}/`;
        assert.ok(await sender.refusalOf(url));
        assert.equal((await sender.send(delivery(url))).error, "target_refused");
      }

      // A name that was public when it was registered and is private when it is sent to.
      let lookups = 0;
      const rebinding: Resolve = () => Promise.resolve([lookups++ === 0 ? "93.184.215.14" : "127.0.0.1"]);
      const sender = createWebhookSender({ allowPrivate: false, resolve: rebinding });
      assert.equal(await sender.refusalOf(`https://rebind.example.com:${port}/`), undefined);
      assert.equal(
        (await sender.send(delivery(`https://rebind.example.com:${port}/`))).error,
        "target_refused",
      );
      assert.equal(lookups, 2);

      // A receiver that answers with a redirect: it is an answer, and not followed.
      const redirecting = await startReceiver((response) =>
        response.writeHead(307, { location: canary.url }).end(),
      );
      try {
        const allowed = createWebhookSender({ allowPrivate: true });
        assert.equal((await allowed.send(delivery(redirecting.url))).statusCode, 307);
        assert.equal(redirecting.received.length, 1);
      } finally {
        await redirecting.close();
      }
      assert.equal(canary.connections(), 0);
      // That the canary sings: with the setting for development it is reached.
      assert.equal(
        (await createWebhookSender({ allowPrivate: true }).send(delivery(canary.url))).statusCode,
        204,
      );
      assert.equal(canary.connections(), 1);
    } finally {
      await canary.close();
    }
  });

  test("a name that changes between the check and the connection is connected to as it was checked", async () => {
    const checked = await startReceiver();
    let lookups = 0;
    try {
      // The name resolves nowhere but here: a second look-up, by whoever connects, could not find the receiver.
      const sender = createWebhookSender({
        allowPrivate: true,
        resolve: () => Promise.resolve(lookups++ === 0 ? ["127.0.0.1"] : ["127.0.0.2"]),
      });
      const url = `http://pinned.invalid:${checked.port}/`;
      const outcome = await sender.send({
        delivery_id: "d",
        claim_id: "c",
        endpoint_id: "e",
        attempt: 1,
        payload: "{}",
        secrets: [newSecret()],
        url,
      });
      assert.deepEqual([outcome.statusCode, lookups], [204, 1]);
      assert.equal(checked.received[0]?.headers.host, `pinned.invalid:${checked.port}`);
    } finally {
      await checked.close();
    }
  });
});
