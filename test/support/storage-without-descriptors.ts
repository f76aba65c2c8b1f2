/**
 * Storage in a process of its own, started under a low `ulimit -n`: uses up its file descriptors, uploads and downloads, frees them and
 * uploads again. Writes what was answered to its output, as JSON.
 */
import { closeSync, openSync } from "node:fs";
import { readdir } from "node:fs/promises";
import path from "node:path";
import { pino } from "pino";
import { openPool } from "../../supabase/functions/_shared/database/pool.ts";
import { deriveKeys } from "../../server/keys.ts";
import { createStorage } from "../../server/storage/storage.ts";
import { png } from "./png.ts";

const [databaseUrl = "", folder = ""] = process.argv.slice(2);
const sql = openPool({ url: databaseUrl, name: "test", connections: 1 });
const keys = await deriveKeys("a secret for tests, of 32 bytes and more", {});
const storage = createStorage({
  apiUrl: "http://storage.test",
  keys,
  sql,
  databaseUrl,
  storageDirectory: folder,
  s3: undefined,
  log: pino({ level: "silent" }),
  checkAnswers: false,
});
const credentials = { authorization: `Bearer ${keys.serviceRoleKey}` };

interface Outcome {
  status: number;
  error: string | undefined;
  retryAfter: string | null;
}

async function outcomeOf(response: Response): Promise<Outcome> {
  const text = await response.text();
  const error = response.ok ? undefined : (JSON.parse(text) as { error: string }).error;
  return { status: response.status, error, retryAfter: response.headers.get("retry-after") };
}

const upload = async (name: string) =>
  await outcomeOf(
    await storage.app.request(`/object/image_uploads/task_outputs/${name}`, {
      method: "POST",
      headers: { ...credentials, "content-type": "image/png" },
      body: png() as BodyInit,
    }),
  );
const download = async (name: string) =>
  await outcomeOf(await storage.app.request(`/object/public/image_uploads/task_outputs/${name}`));

const outcomes: Record<string, Outcome> = { before: await upload("before.png") };
const held: number[] = [];
try {
  for (;;) held.push(openSync("/dev/null", "r"));
} catch (error) {
  if ((error as NodeJS.ErrnoException).code !== "EMFILE") throw error;
}
outcomes["upload"] = await upload("without.png");
outcomes["download"] = await download("before.png");
for (const descriptor of held) closeSync(descriptor);
outcomes["after"] = await upload("without.png");
outcomes["downloadAfter"] = await download("without.png");
const incoming = await readdir(path.join(folder, ".incoming"));
process.stdout.write(JSON.stringify({ outcomes, incoming }));
await storage.stop();
await sql.end();
