import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type EnvironmentUnderTest, startEnvironment } from "../../../../test/support/environment.ts";
import { png } from "../../../../test/support/png.ts";
import { AppError } from "../errors/app-error.ts";
import { checkPictures, ownPicturesLimitBytes } from "./pictures.ts";

const never = new AbortController().signal;
const names: Record<string, string[]> = {
  "media.example": ["93.184.215.14"],
  "other.example": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
  "inside.example": ["10.0.0.8"],
  "both.example": ["93.184.215.14", "127.0.0.1"],
  "mapped.example": ["::ffff:169.254.169.254"],
};

describe("pictures", () => {
  let under: EnvironmentUnderTest;
  const lookedUp: string[] = [];
  before(async () => void (under = await startEnvironment()));
  after(() => under?.close());

  async function check(...images: string[][]) {
    return await checkPictures(images, (prompt, picture) => `images.${prompt}.${picture}`, {
      storage: under.environment.storage,
      async resolve(name) {
        lookedUp.push(name);
        return await Promise.resolve(names[name] ?? []);
      },
    });
  }

  async function refused(work: Promise<unknown>): Promise<{ path: string; message: string }> {
    const error = await work.then(
      () => assert.fail("it was not refused"),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof AppError && error.code === "invalid_request", String(error));
    const [issue] = error.details["issues"] as { path: string; message: string }[];
    assert.ok(issue);
    return issue;
  }

  test("at public addresses are shown as they are; each name is looked up once", async () => {
    lookedUp.length = 0;
    const frames = [
      "https://media.example/1.png",
      "https://media.example/2.png",
      "https://other.example/a?b=c",
    ];
    const pictures = await check(frames.slice(0, 2), [], frames.slice(2));
    assert.deepEqual(await pictures.of(0, never), frames.slice(0, 2));
    assert.deepEqual(await pictures.of(1, never), []);
    assert.deepEqual(await pictures.of(2, never), frames.slice(2));
    assert.deepEqual(lookedUp, ["media.example", "other.example"]);
  });

  test("at addresses that are not plainly public are refused, and named", async () => {
    for (const address of [
      "http://media.example/1.png",
      "https://inside.example/1.png",
      "https://both.example/1.png",
      "https://mapped.example/1.png",
      "https://nowhere.example/1.png",
      "https://127.0.0.1/1.png",
      "https://2130706433/1.png",
      "https://0x7f.1/1.png",
      "https://017700000001/",
      "https://127。0。0。1/",
      "https://[::1]/1.png",
      "https://[::ffff:169.254.169.254]/latest/meta-data/",
      "https://169.254.169.254/latest/meta-data/",
      "https://localhost/1.png",
      "https://LOCALHOST./1.png",
      "https://8.8.8.8/1.png",
      "https://user:password@media.example/1.png",
      "https://media.example:22/1.png",
      "https://media.example/1.png#fragment",
      "https://media.example\\@127.0.0.1/1.png",
      // Ours, but no file that anybody may read
      `${under.apiUrl}/storage/v1/object/authenticated/image_uploads/a.png`,
      `${under.apiUrl}/storage/v1/object/image_uploads/a.png`,
      `${under.apiUrl}/storage/v1/object/list/image_uploads`,
      `${under.apiUrl}/storage/v1/object/public/../list/image_uploads`,
      `${under.apiUrl}/storage/v1/object/public/%2e%2e/list/image_uploads`,
      `${under.apiUrl}/auth/v1/.well-known/jwks.json`,
      `${under.apiUrl}.example/storage/v1/object/public/image_uploads/a.png`,
      `${under.apiUrl}:81/storage/v1/object/public/image_uploads/a.png`,
    ]) {
      const { path } = await refused(check([], ["https://media.example/1.png", address]));
      assert.equal(path, "images.1.1", address);
    }
  });

  test("from more hosts than five are refused before a name is looked up", async () => {
    lookedUp.length = 0;
    const many = Array.from({ length: 6 }, (_, index) => [`https://host-${index}.example/1.png`]);
    assert.match((await refused(check(...many))).message, /more than 5 hosts/);
    assert.deepEqual(lookedUp, []);
  });

  test("of our own storage on a private host are read and sent, public and signed ones", async () => {
    const { storage } = under.environment;
    const { userId } = await under.person();
    const [red, blue] = [png({ colour: 0xff_00_00 }), png({ colour: 0x00_00_ff })];
    await storage.upload(`${userId}/red.png`, red, "image/png");
    await storage.upload(`${userId}/blue.png`, blue, "image/png");
    const signed = await signedAddress(`${userId}/blue.png`);
    const pictures = await check([storage.publicUrl(`${userId}/red.png`), signed]);
    const shown = await pictures.of(0, never);
    assert.deepEqual(
      shown,
      [red, blue].map((bytes) => `data:image/png;base64,${Buffer.from(bytes).toString("base64")}`),
    );
    // A signature for one file opens no other.
    const forged = signed.replace("blue.png", "red.png");
    assert.match((await refused((await check([forged])).of(0, never))).message, /not in storage/);
  });

  test("of our own storage that are missing, too large or none are refused, and named", async () => {
    const { storage } = under.environment;
    const { userId } = await under.person();
    const large = new Uint8Array(ownPicturesLimitBytes + 1);
    large.set(png());
    const half = large.slice(0, ownPicturesLimitBytes / 2 + 1);
    await storage.upload(`${userId}/large.png`, large, "image/png");
    await storage.upload(`${userId}/half.png`, half, "image/png");
    await storage.upload(
      `${userId}/text.bin`,
      new TextEncoder().encode("<svg/>"),
      "application/octet-stream",
    );
    const at = (name: string) => storage.publicUrl(`${userId}/${name}`);
    for (const [addresses, path, message] of [
      [[at("missing.png")], "images.0.0", /not in storage/],
      [[at("large.png")], "images.0.0", /too large/],
      [[at("half.png"), at("half.png")], "images.0.1", /too large/],
      [[at("text.bin")], "images.0.0", /no PNG, JPEG, WebP or GIF/],
    ] as const) {
      const issue = await refused((await check([...addresses])).of(0, never));
      assert.equal(issue.path, path);
      assert.match(issue.message, message);
    }
    assert.equal((await (await check([at("half.png")])).of(0, never)).length, 1);
  });

  /** A signed address, as the storage service gives it. */
  async function signedAddress(name: string): Promise<string> {
    const base = `${under.apiUrl}/storage/v1`;
    const answer = await under.fetch(`${base}/object/sign/image_uploads/${name}`, {
      method: "POST",
      headers: { ...under.service, "content-type": "application/json" },
      body: JSON.stringify({ expiresIn: 60 }),
    });
    return `${base}${((await answer.json()) as { signedURL: string }).signedURL}`;
  }
});
