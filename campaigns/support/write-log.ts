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
  /** Every name that was ever asked for. */
  allNames: Set<string>;
  /** `gone` once a deletion was acknowledged; `unknown` while one was asked for and not acknowledged. */
  state: "asked" | "there" | "unknown" | "gone";
}

export interface SessionRecord {
  accessToken: string;
  refreshToken: string;
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
  /** By user: every session that was acknowledged, oldest first. */
  readonly sessionHistory = new Map<string, SessionRecord[]>();
  acknowledgedWrites = 0;
  /** Reads that were answered, and rows in them that belong to another user. */
  reads = 0;
  foreignRows = 0;
  /** Downloads of an acknowledged file that gave other bytes or none. */
  readonly wrongDownloads: string[] = [];

  acknowledge(): void {
    this.acknowledgedWrites++;
  }

  signedIn(userId: string, session: SessionRecord): void {
    this.sessions.set(userId, session.refreshToken);
    this.sessionHistory.set(userId, [...(this.sessionHistory.get(userId) ?? []), session]);
  }

  claimed(taskId: string, attempt: number, worker: string): void {
    const run = `${taskId} ${attempt}`;
    const other = this.claims.get(run);
    if (other !== undefined && other !== worker) this.doubleClaims++;
    this.claims.set(run, worker);
  }
}

/** The promises of this moment. Later entries of the log do not change the copy; figures of reads begin at 0. */
export function copyLog(log: WriteLog): WriteLog {
  const copy = new WriteLog();
  copy.people.push(...log.people);
  for (const [reference, { acknowledged }] of log.tasks) {
    copy.tasks.set(reference, { acknowledged: new Set(acknowledged) });
  }
  for (const [id, completion] of log.completions) copy.completions.set(id, completion);
  for (const id of log.failures) copy.failures.add(id);
  for (const [run, worker] of log.claims) copy.claims.set(run, worker);
  for (const [id, { names, allNames, state }] of log.shots) {
    copy.shots.set(id, { names: new Set(names), allNames: new Set(allNames), state });
  }
  for (const [name, upload] of log.uploads) copy.uploads.set(name, upload);
  for (const [userId, token] of log.sessions) copy.sessions.set(userId, token);
  for (const [userId, sessions] of log.sessionHistory) copy.sessionHistory.set(userId, [...sessions]);
  copy.acknowledgedWrites = log.acknowledgedWrites;
  return copy;
}

/**
 * What must be in a backup that began at `begin`. A row that was changed later, up to `now`, may be in it as it was at
 * the beginning or as any later write made it.
 */
export function promisesOfBackup(begin: WriteLog, now: WriteLog): WriteLog {
  const promises = copyLog(begin);
  // A refresh token may have been used since; `sessionHistory` says which token follows it.
  promises.sessions.clear();
  for (const [id, shot] of promises.shots) {
    const later = now.shots.get(id);
    if (!later) continue;
    for (const name of later.allNames) if (!shot.allNames.has(name)) shot.names.add(name);
    if (later.state !== shot.state) shot.state = "unknown";
  }
  return promises;
}
