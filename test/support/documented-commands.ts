import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { projectPath } from "../../server/project-path.ts";

/** The shell commands of a document, one text a block, in the order in which a reader meets them. */
export async function documentedCommands(document: string): Promise<string[]> {
  const text = await readFile(projectPath(document), "utf8");
  return [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => (block ?? "").trim());
}

export interface CommandRun {
  exitCode: number | null;
  output: string;
}

/** A new shell for each block, with `~` somewhere else. */
export class DocumentShell {
  readonly home: string;
  readonly #environment: Record<string, string>;

  constructor(home: string, environment: Record<string, string>) {
    this.home = home;
    this.#environment = environment;
  }

  async run(block: string): Promise<CommandRun> {
    const child = this.#spawn(block);
    const output = collect(child);
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    return { exitCode, output: output() };
  }

  /** Runs a block that starts a host, until that serves. Answers how to stop it. */
  async start(block: string, dataFolder: string): Promise<() => Promise<void>> {
    const child = this.#spawn(block);
    const output = collect(child);
    const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
    while (!output().includes("Darkroom is ready at")) {
      if (child.exitCode !== null) throw new Error(output());
      await pause(50);
    }
    return async () => {
      const running = await readFile(path.join(this.home, dataFolder, "running.json"), "utf8");
      // The host itself: what npm makes of a signal is not the document's.
      process.kill((JSON.parse(running) as { pid: number }).pid, "SIGTERM");
      await ended;
    };
  }

  #spawn(block: string): ChildProcess {
    return spawn("bash", ["-e", "-u", "-c", block], {
      cwd: projectPath(""),
      env: {
        PATH: process.env["PATH"] ?? "",
        HOME: this.home,
        npm_config_update_notifier: "false",
        LOG_LEVEL: "warn",
        DARKROOM_WORKER: "off",
        ...this.#environment,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
  }
}

function collect(child: ChildProcess): () => string {
  let text = "";
  child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (text += chunk.toString()));
  return () => text;
}
