/** What clients were promised: every write that a host acknowledged, and every one that was asked for. */

export interface TaskRequest {
  /** The ids that were acknowledged; more than one is a double. */
  acknowledged: Set<string>;
}

export interface Completion {
  attempt: number;
  url: string;
  bytes: Buffer;
}

export interface ShotRecord {
  /** Names that the row may have: the last acknowledged one, and any whose answer was lost. */
  names: Set<string>;
  /** `gone` once a deletion was acknowledged; `unknown` while one was asked for and not acknowledged. */
  state: "asked" | "there" | "unknown" | "gone";
}

export interface UploadRecord {
  owner: StudioIdentity;
  bytes: Buffer;
}

export interface StudioIdentity {
  userId: string;
  projectId: string;
  email: string;
  password: string;
}

export class WriteLog {
  readonly people: StudioIdentity[] = [];
  /** By the client's own reference, which is in the task's params. */
  readonly tasks = new Map<string, TaskRequest>();
  readonly completions = new Map<string, Completion>();
  readonly failures = new Set<string>();
  /** Runs that were given out, with the worker that got each. */
  readonly claims = new Map<string, string>();
  doubleClaims = 0;
  readonly shots = new Map<string, ShotRecord>();
  readonly uploads = new Map<string, UploadRecord>();
  /** By user: the last refresh token that was acknowledged and not used since. */
  readonly sessions = new Map<string, string>();
  acknowledgedWrites = 0;
  /** Reads that were answered, and rows in them that belong to another user. */
  reads = 0;
  foreignRows = 0;
  /** Downloads of an acknowledged file that gave other bytes or none. */
  readonly wrongDownloads: string[] = [];

  acknowledge(): void {
    this.acknowledgedWrites++;
  }

  claimed(taskId: string, attempt: number, worker: string): void {
    const run = `${taskId} ${attempt}`;
    const other = this.claims.get(run);
    if (other !== undefined && other !== worker) this.doubleClaims++;
    this.claims.set(run, worker);
  }
}
