import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, chmod, chown, cp, mkdir, mkdtemp, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { installedBinaries, type PostgresBinaries } from "./binaries.ts";

/** PostgreSQL refuses to run as root; root runs it as one of these. */
const unprivilegedUsers = ["postgres", "_postgres", "nobody"];

/** Where root puts what the unprivileged user could not reach, as under `/root`. */
const commonDirectory = "/var/lib/darkroom";

/** Left in the folder that was asked for, where the cluster is elsewhere. */
export const noteOfPlace = "WHERE-IS-THE-DATA.txt";

export interface SystemUser {
  uid: number;
  gid: number;
}

export interface Placement {
  binaries: PostgresBinaries;
  /** The cluster's real data folder. */
  cluster: string;
  /** Who runs it, when not we ourselves. */
  user: SystemUser | undefined;
}

/** Decides where the cluster asked for at `directory` lives, with which binaries and as whom. */
export async function place(directory: string): Promise<Placement> {
  const binaries = await installedBinaries();
  if (process.getuid?.() !== 0) return { binaries, cluster: directory, user: undefined };

  const user = await unprivilegedUser();
  await mkdir(path.dirname(directory), { recursive: true });
  return {
    binaries: (await canReach(user, path.join(binaries.directory, "bin")))
      ? binaries
      : await copyBinaries(binaries),
    cluster: (await canReach(user, path.dirname(directory))) ? directory : await moveCluster(directory),
    user,
  };
}

async function unprivilegedUser(): Promise<SystemUser> {
  const run = promisify(execFile);
  for (const name of unprivilegedUsers) {
    try {
      const [uid, gid] = await Promise.all([run("id", ["-u", name]), run("id", ["-g", name])]);
      return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
    } catch {
      continue; // `id` fails for a user that does not exist.
    }
  }
  throw new Error(
    `PostgreSQL cannot run as root, and none of these users exists: ${unprivilegedUsers.join(", ")}.`,
  );
}

/** Whether every folder from the root down to this one lets the user pass. */
async function canReach(user: SystemUser, folder: string): Promise<boolean> {
  for (let current = path.resolve(folder); ; current = path.dirname(current)) {
    const { mode, uid, gid } = await stat(current);
    const passage = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & passage) === 0) return false;
    if (current === path.dirname(current)) return true;
  }
}

async function copyBinaries(binaries: PostgresBinaries): Promise<PostgresBinaries> {
  const directory = path.join(commonDirectory, `postgres-${binaries.version}`);
  const copied = { directory, version: binaries.version };
  if (await exists(directory)) return copied;
  await openCommonDirectory();
  const unfinished = await mkdtemp(`${directory}.new-`);
  try {
    await cp(binaries.directory, unfinished, { recursive: true, verbatimSymlinks: true });
    await chmod(unfinished, 0o755);
    await rename(unfinished, directory);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    // Another process was faster: its copy is as good.
    if (!(await exists(directory))) throw error;
  }
  return copied;
}

async function moveCluster(directory: string): Promise<string> {
  const hash = createHash("sha256").update(directory).digest("hex").slice(0, 16);
  const cluster = path.join(commonDirectory, hash);
  await openCommonDirectory();
  await mkdir(directory, { recursive: true });
  await writeFile(
    path.join(directory, noteOfPlace),
    `PostgreSQL does not run as root, and the user it runs as cannot reach this folder.\nThe database is in ${cluster}\n`,
  );
  return cluster;
}

async function openCommonDirectory(): Promise<void> {
  await mkdir(commonDirectory, { recursive: true });
  await chmod(commonDirectory, 0o755);
}

export async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}

export async function giveTo(user: SystemUser | undefined, file: string): Promise<void> {
  if (user) await chown(file, user.uid, user.gid);
}
