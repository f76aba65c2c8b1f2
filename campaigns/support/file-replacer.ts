/** Replaces and deletes a few files all the time: a backup must hold one whole version of each, or none. */
import { setTimeout as pause } from "node:timers/promises";
import { type ApiClient, bearer } from "./api-client.ts";
import { type Load, newPicture, type SignedInPerson, signUpPerson } from "./load.ts";
import type { Random } from "./random.ts";

/** The contents of a file, oldest first; null is a deletion. */
export interface FileHistory {
  contents: (Buffer | null)[];
  /** Index of the last acknowledged content; -1 before the first. */
  acknowledged: number;
}

const fileCount = 12;

export class FileReplacer {
  readonly files = new Map<string, FileHistory>();
  acknowledgedWrites = 0;
  readonly #client: ApiClient;
  readonly #person: SignedInPerson;
  readonly #random: Random;
  readonly #publishableKey: string;
  #isStopping = false;
  #running: Promise<void> = Promise.resolve();

  private constructor(client: ApiClient, person: SignedInPerson, load: Load) {
    this.#client = client;
    this.#person = person;
    this.#random = load.newRandom();
    this.#publishableKey = load.options.keys.PUBLISHABLE_KEY;
    for (let number = 0; number < fileCount; number++) {
      const name = `${person.identity.userId}/replaced/${number}.png`;
      this.files.set(name, { contents: [], acknowledged: -1 });
    }
  }

  static async create(load: Load): Promise<FileReplacer> {
    const client = load.client(297);
    return new FileReplacer(client, await signUpPerson(client, load.options.keys, "replacer"), load);
  }

  start(): void {
    this.#isStopping = false;
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#running;
  }

  close(): void {
    this.#client.close();
  }

  /** The files as they may be after a restore of a backup that begins now: from which content on, by name. */
  acknowledgedNow(): Map<string, number> {
    return new Map([...this.files].map(([name, { acknowledged }]) => [name, acknowledged]));
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      const [name, history] = this.#random.pick([...this.files]) ?? [];
      if (name === undefined || !history) return;
      const isThere = history.contents[history.acknowledged];
      const content = isThere && this.#random.chance(0.15) ? null : newPicture(this.#random);
      history.contents.push(content);
      const place = history.contents.length - 1;
      const answer = await this.#client.call({
        service: "storage",
        path: `/storage/v1/object/image_uploads/${name}`,
        method: content ? "POST" : "DELETE",
        headers: {
          ...bearer(this.#person.jwt),
          apikey: this.#publishableKey,
          ...(content && { "content-type": "image/png", "x-upsert": "true" }),
        },
        body: content ?? undefined,
      });
      if (answer.status === 200) {
        history.acknowledged = place;
        this.acknowledgedWrites++;
      } else {
        // The host is stopped or was killed: what became of this write is unknown.
        await pause(100);
      }
      await pause(this.#random.between(2, 15));
    }
  }
}
