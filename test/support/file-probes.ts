import assert from "node:assert/strict";
import type { Credentials } from "./calls.ts";
import type { HostUnderTest } from "./hosts.ts";

/** Somebody who tries to get at a file. */
export interface Prober {
  name: string;
  credentials: Credentials;
  /** Where they may write files of their own; nothing for those who may not. */
  ownFolder: string | undefined;
}

interface Attempt {
  method: string;
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
}

const bucket = "image_uploads";

/** Every request by which storage could give a file, its name or a right to it away. */
function attempts(path: string, { ownFolder }: Prober): Record<string, Attempt> {
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  const folder = path.slice(0, path.lastIndexOf("/"));
  const name = path.slice(folder.length + 1);
  const json = { "content-type": "application/json" };
  const taken = `${ownFolder ?? "nobody"}/taken-${name}`;
  const post = (at: string, body: unknown): Attempt => ({ method: "POST", path: at, body, headers: json });
  const list = (fields: object) => post(`/object/list/${bucket}`, { limit: 1000, ...fields });
  return {
    "public download": { method: "GET", path: `/object/public/${bucket}/${encoded}` },
    "public download as a file": { method: "GET", path: `/object/public/${bucket}/${encoded}?download=` },
    "public range": {
      method: "GET",
      path: `/object/public/${bucket}/${encoded}`,
      headers: { range: "bytes=0-7" },
    },
    "public head": { method: "HEAD", path: `/object/public/${bucket}/${encoded}` },
    "public picture": { method: "GET", path: `/render/image/public/${bucket}/${encoded}` },
    download: { method: "GET", path: `/object/authenticated/${bucket}/${encoded}` },
    "short download": { method: "GET", path: `/object/${bucket}/${encoded}` },
    head: { method: "HEAD", path: `/object/${bucket}/${encoded}` },
    picture: { method: "GET", path: `/render/image/authenticated/${bucket}/${encoded}` },
    info: { method: "GET", path: `/object/info/${bucket}/${encoded}` },
    "info as a reader": { method: "GET", path: `/object/info/authenticated/${bucket}/${encoded}` },
    "public info": { method: "GET", path: `/object/info/public/${bucket}/${encoded}` },
    signature: post(`/object/sign/${bucket}/${encoded}`, { expiresIn: 60 }),
    signatures: post(`/object/sign/${bucket}`, { expiresIn: 60, paths: [path] }),
    "upload signature": post(`/object/upload/sign/${bucket}/${encoded}`, {}),
    list: list({ prefix: folder }),
    "list by name": list({ prefix: folder, search: name.slice(0, 12) }),
    "list by time": list({ prefix: folder, sortBy: { column: "created_at", order: "desc" } }),
    "second list": post(`/object/list-v2/${bucket}`, { prefix: folder, limit: 1000 }),
    copy: post("/object/copy", { bucketId: bucket, sourceKey: path, destinationKey: taken }),
    "copy to another bucket": post("/object/copy", {
      bucketId: bucket,
      sourceKey: path,
      destinationBucket: "temporary",
      destinationKey: taken,
    }),
    move: post("/object/move", { bucketId: bucket, sourceKey: path, destinationKey: taken }),
    replacement: {
      method: "PUT",
      path: `/object/${bucket}/${encoded}`,
      body: "replaced",
      headers: { "content-type": "text/plain" },
    },
    upload: {
      method: "POST",
      path: `/object/${bucket}/${encoded}`,
      body: "replaced",
      headers: { "content-type": "text/plain", "x-upsert": "true" },
    },
    deletion: { method: "DELETE", path: `/object/${bucket}/${encoded}` },
    deletions: { method: "DELETE", path: `/object/${bucket}`, body: { prefixes: [path] }, headers: json },
  };
}

/** One attempt of each kind: for suites that try many files. */
export const someAttempts = ["public download", "download", "signature", "list", "copy"];

/** Those of all attempts (or of `only` these) that got anything of the file. The service finds it as it was afterwards. */
export async function breaches(
  host: HostUnderTest,
  path: string,
  bytes: Uint8Array,
  probers: readonly Prober[],
  only?: readonly string[],
): Promise<string[]> {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const asked = probers.map(async (prober) => {
    const found: string[] = [];
    for (const [what, { method, path: at, body, headers }] of Object.entries(attempts(path, prober))) {
      if (only && !only.includes(what)) continue;
      const response = await fetch(`${host.apiUrl}/storage/v1${at}`, {
        method,
        headers: { ...prober.credentials, ...headers },
        ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
      });
      const answer = Buffer.from(await response.arrayBuffer());
      const text = answer.toString("utf8");
      // These answer 200 for whoever asks, without what he may not see.
      const mayAnswer = /^(list|signatures$|deletions$)/.test(what);
      const gave = mayAnswer
        ? what === "signatures"
          ? /"signedURL":"/.test(text)
          : text.includes(name)
        : response.ok;
      if (gave || answer.includes(Buffer.from(bytes).subarray(0, 64)))
        found.push(`${prober.name}: ${what}: ${response.status}`);
    }
    return found;
  });
  const found = (await Promise.all(asked)).flat();
  assert.ok(await serviceReads(host, path, bytes), `${path} is there, as its worker stored it`);
  return found;
}

/** Whether the service finds these bytes under the path. */
export async function serviceReads(host: HostUnderTest, path: string, bytes: Uint8Array): Promise<boolean> {
  const response = await fetch(`${host.apiUrl}/storage/v1/object/authenticated/${bucket}/${path}`, {
    headers: { authorization: `Bearer ${host.keys.serviceRoleKey}` },
  });
  const found = Buffer.from(await response.arrayBuffer());
  return response.ok && found.equals(Buffer.from(bytes));
}

/** What everybody gets under the public URL. */
export async function publicBytes(host: HostUnderTest, path: string): Promise<Buffer | undefined> {
  const response = await fetch(`${host.apiUrl}/storage/v1/object/public/${bucket}/${path}`);
  const found = Buffer.from(await response.arrayBuffer());
  return response.ok ? found : undefined;
}
