import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { access, chmod, chown, cp, mkdir, mkdtemp, realpath, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { createDurably, readText, writeDurably } from "../durable-file.ts";
import { installedBinaries, type PostgresBinaries } from "./binaries.ts";

/** PostgreSQL refuses to run as root; root runs it as one of these. */
const unprivilegedUsers = ["postgres", "_postgres", "nobody"];

/** Where root puts what the unprivileged user could not reach, as under `/root`. */
const commonDirectory = "/var/lib/darkroom";

/** Left in the folder that was asked for, where the cluster is elsewhere: its last line decides where. */
export const noteOfPlace = "WHERE-IS-THE-DATA.txt";
const lineOfPlace = /^The database is in (\/.+)$/m;

/** In a cluster that is elsewhere: the folder that it belongs to. */
const ownerFile = "darkroom-folder.json";

export interface SystemUser {
  uid: number;
  gid: number;
}

export interface Placement {
  binaries: PostgresBinaries;
  /** The cluster's real data folder. */
  cluster: string;
  /** The folder that was asked for, without symbolic links. */
  directory: string;
  /** Whether a note in the folder says that the cluster is elsewhere. */
  isNoted: boolean;
  /** Who runs it, when not we ourselves. */
  user: SystemUser | undefined;
}

/** Decides where the cluster asked for at `directory` lives, with which binaries and as whom. It writes no note yet. */
export async function place(directory: string): Promise<Placement> {
  const binaries = await installedBinaries();
  if (process.getuid?.() !== 0)
    return { binaries, cluster: directory, directory, isNoted: false, user: undefined };

  const user = await unprivilegedUser();
  await mkdir(path.dirname(directory), { recursive: true });
  const real = await realPathOf(directory);
  const noted = await readNote(real);
  return {
    binaries: (await canReach(user, path.join(binaries.directory, "bin")))
      ? binaries
      : await copyBinaries(binaries),
    // A name of its own: what was made for another folder is never taken for this one's.
    cluster:
      noted ?? ((await canReach(user, path.dirname(real))) ? real : path.join(commonDirectory, randomUUID())),
    directory: real,
    isNoted: noted !== undefined,
    user,
  };
}

async function realPathOf(directory: string): Promise<string> {
  return (await exists(directory))
    ? await realpath(directory)
    : path.join(await realpath(path.dirname(directory)), path.basename(directory));
}

/** Where the note in the folder says that the cluster is; undefined without a note. */
async function readNote(directory: string): Promise<string | undefined> {
  const note = path.join(directory, noteOfPlace);
  const text = await readText(note);
  if (text === undefined) return undefined;
  const cluster = lineOfPlace.exec(text)?.[1]?.trim();
  if (cluster !== undefined) return cluster;
  throw new Error(
    `${note} is damaged: it says where the database is, by a line "The database is in <folder>". ` +
      `Restore the file, or write that line; databases that root made are in ${commonDirectory}.`,
  );
}

/** Says in the folder that was asked for where its cluster will be. A note that is there is not replaced. */
export async function writeNote({ cluster, directory, isNoted }: Placement): Promise<void> {
  if (cluster === directory || isNoted) return;
  await openCommonDirectory();
  await mkdir(directory, { recursive: true });
  const note = path.join(directory, noteOfPlace);
  const isMade = await createDurably(
    note,
    "PostgreSQL does not run as root, and the user it runs as cannot reach this folder.\n" +
      `Keep this file: without it the database is not found.\nThe database is in ${cluster}\n`,
  );
  if (!isMade) throw new Error(`${note} was written by another start.`);
}

/**
 * Writes into a cluster that is elsewhere which folder it belongs to. A folder that was moved keeps it.
 * @throws where the folder is a copy: its original has the database
 */
export async function claimCluster({ cluster, directory, user }: Placement): Promise<void> {
  if (cluster === directory) return;
  const file = path.join(cluster, ownerFile);
  const text = await readText(file);
  if (text !== undefined) {
    const owner = ownerIn(file, text);
    if (owner === directory) return;
    if (!(await isSameFolder(owner, directory)) && (await noteNames(owner, cluster))) {
      throw new Error(
        `The database in ${cluster} belongs to ${owner}, and ${directory} is a copy of that folder without the database. ` +
          "Start Darkroom on the original, or copy it by a backup and a restore (docs/backup.md).",
      );
    }
  }
  await writeDurably(file, JSON.stringify({ folder: directory }));
  // PostgreSQL opens every file of its folder after a crash.
  await giveTo(user, file);
}

function ownerIn(file: string, text: string): string {
  const owner = /^\{"folder":("\/.*")\}$/.exec(text.trim())?.[1];
  if (owner !== undefined) return JSON.parse(owner) as string;
  throw new Error(
    `${file} is damaged: it names the folder that the database belongs to. ` +
      "Delete it if no other data folder uses this database; the next start writes it again.",
  );
}

async function noteNames(directory: string, cluster: string): Promise<boolean> {
  return (await exists(directory)) && (await readNote(directory)) === cluster;
}

/** Such as by two mounts of one disk. */
async function isSameFolder(one: string, other: string): Promise<boolean> {
  if (!(await exists(one))) return false;
  const [first, second] = await Promise.all([stat(one), stat(other)]);
  return first.dev === second.dev && first.ino === second.ino;
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
