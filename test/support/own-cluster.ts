import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, chmod, chown, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { pino } from "pino";
import { lockFolder } from "../../server/folder-lock.ts";
import { startEmbeddedPostgres } from "../../server/postgres/embedded.ts";

/** A database server that one test has for itself: roles belong to the server, and other tests need theirs. */
export interface OwnCluster {
  /** As its superuser, on the database `postgres`. */
  url: string;
  /** The same server, another database or user; a user of tests has its name as password. */
  urlOf(database: string, user?: string): string;
}

export async function withOwnCluster(test: (cluster: OwnCluster) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), "darkroom-cluster-"));
  // As root, the server runs as another system user, who must be able to enter.
  await chmod(folder, 0o755);
  const lock = await lockFolder(folder);
  const server = await startEmbeddedPostgres({
    directory: path.join(folder, "postgres"),
    lock,
    settings: { fsync: "off" },
    log: pino({ level: "silent" }),
  });
  try {
    await test(clusterAt(server.url));
  } finally {
    await server.stop();
    lock.release();
    await rm(server.directory, { recursive: true, force: true });
    await rm(folder, { recursive: true, force: true });
  }
}

const binaries15 = [process.env["DARKROOM_TEST_POSTGRES_15"], "/usr/lib/postgresql/15/bin"];

/** Why no test can run on PostgreSQL 15 here; undefined where one can. */
export async function noPostgres15(): Promise<string | undefined> {
  return (await binaries()) ? undefined : "PostgreSQL 15 is not installed (apt-get install postgresql-15)";
}

async function binaries(): Promise<string | undefined> {
  for (const folder of binaries15) {
    const exists =
      folder !== undefined &&
      (await access(path.join(folder, "initdb")).then(
        () => true,
        () => false,
      ));
    if (exists) return folder;
  }
  return undefined;
}

/** The same on the oldest PostgreSQL that Darkroom runs on, from the operating system's packages. */
export async function withPostgres15(test: (cluster: OwnCluster) => Promise<void>): Promise<void> {
  const programs = await binaries();
  if (!programs) throw new Error(await noPostgres15());
  const folder = await mkdtemp(path.join(tmpdir(), "darkroom-postgres15-"));
  const data = path.join(folder, "data");
  const owner = process.getuid?.() === 0 ? await systemUser() : undefined;
  await mkdir(data);
  if (owner) await Promise.all([folder, data].map((made) => chown(made, owner.uid, owner.gid)));
  const run = async (program: string, ...words: string[]) => {
    const child = spawn(path.join(programs, program), words, { ...owner, cwd: folder, stdio: "ignore" });
    const [status] = (await once(child, "exit")) as [number | null];
    if (status !== 0) {
      const log = await readFile(path.join(folder, "log"), "utf8").catch(() => "");
      throw new Error(`${program} failed (${status}): ${log}`);
    }
  };
  const port = await freePort();
  await run(
    "initdb",
    "-D",
    data,
    "-U",
    "postgres",
    "-A",
    "trust",
    "-E",
    "UTF8",
    "--locale=C.UTF-8",
    "--no-sync",
  );
  const settings = `-p ${port} -h 127.0.0.1 -c unix_socket_directories= -c fsync=off -c wal_level=logical`;
  await run("pg_ctl", "-D", data, "-o", settings, "-l", path.join(folder, "log"), "-w", "start");
  try {
    await test(clusterAt(`postgresql://postgres@127.0.0.1:${port}/postgres`));
  } finally {
    await run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop");
    await rm(folder, { recursive: true, force: true });
  }
}

function clusterAt(url: string): OwnCluster {
  return {
    url,
    urlOf(database, user) {
      const other = new URL(url);
      other.pathname = `/${database}`;
      if (user !== undefined) [other.username, other.password] = [user, user];
      return other.href;
    },
  };
}

async function systemUser(): Promise<{ uid: number; gid: number }> {
  const line = (await readFile("/etc/passwd", "utf8"))
    .split("\n")
    .find((line) => line.startsWith("postgres:"));
  const [, , uid, gid] = line?.split(":") ?? [];
  if (uid === undefined || gid === undefined) throw new Error("There is no system user postgres.");
  return { uid: Number(uid), gid: Number(gid) };
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (typeof address !== "object" || !address) throw new Error("no port");
  return address.port;
}
