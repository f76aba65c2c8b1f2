import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { readText, writeDurably } from "./durable-file.ts";

/** Left in the data folder by a running host, for `status`. */
export interface Running<Status> {
  pid: number;
  port: number;
  status: Status;
}

/** `running.json` of a data folder. */
export class RunningRecord<Status> {
  readonly #file: string;
  #written: string | undefined;

  constructor(directory: string) {
    this.#file = path.join(directory, "running.json");
  }

  async write(host: Omit<Running<Status>, "pid">): Promise<void> {
    await mkdir(path.dirname(this.#file), { recursive: true });
    const text = JSON.stringify({ pid: process.pid, ...host }, null, 2);
    await writeDurably(this.#file, text).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`${this.#file} cannot be written: ${reason}`, { cause: error });
    });
    this.#written = text;
  }

  async read(): Promise<Running<Status> | undefined> {
    const text = await this.#text();
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text) as Running<Status>;
    } catch (error) {
      throw new Error(`${this.#file} is damaged. Delete it; the next start writes it again.`, {
        cause: error,
      });
    }
  }

  /** Removes what this object wrote. The record of another host stays. */
  async remove(): Promise<void> {
    if (this.#written !== undefined && (await this.#text()) === this.#written)
      await rm(this.#file, { force: true });
  }

  async #text(): Promise<string | undefined> {
    return await readText(this.#file);
  }
}
