/** Holds a restored installation against what clients were promised before its backup began. */
import { AnswerBook, type Answer, ApiClient, bearer } from "./api-client.ts";
import type { Report } from "./campaign.ts";
import { withSession } from "./database.ts";
import type { FileReplacer } from "./file-replacer.ts";
import type { HostProcess } from "./host-process.ts";
import { type Load, rowsOf } from "./load.ts";
import type { WriteLog } from "./write-log.ts";

export interface AccessToken {
  token: string;
  projectId: string;
  isRevoked: boolean;
}

/** The writes that were acknowledged when a backup began. */
export interface BackupBegin {
  log: WriteLog;
  files: Map<string, number>;
  tokens: AccessToken[];
}

/** Tables that a signed-in user reads, with the column that says whose a row is. */
const ownTables = {
  projects: "user_id",
  shots: "project_id",
  tasks: "project_id",
  generations: "project_id",
  credits_ledger: "user_id",
} as const;

export class RestoredInstallation {
  readonly #host: HostProcess;
  readonly #client: ApiClient;
  readonly #report: Report;
  /** Keys of the original installation: those of a restored one are the same. */
  readonly #source: Load;

  constructor(host: HostProcess, source: Load, report: Report) {
    this.#host = host;
    this.#source = source;
    this.#report = report;
    this.#client = new ApiClient([host.url], new AnswerBook(), 296);
  }

  /** Call it before anything else writes. */
  async check(begin: BackupBegin, replacer: FileReplacer): Promise<void> {
    await this.#checkFiles(begin, replacer);
    await this.#checkTasks();
    await this.#checkReads(begin);
    await this.#checkSessions(begin);
    await this.#checkTokens(begin);
    this.#client.close();
  }

  /** Every file that a row names, whenever it was written: a row without its content is half a write. */
  async #checkFiles(begin: BackupBegin, replacer: FileReplacer): Promise<void> {
    const rows = await withSession(this.#host.keys.DB_URL, (session) =>
      session.query<{ bucket: string; name: string; size: number }>(
        "select bucket_id as bucket, name, (metadata ->> 'size')::int as size from storage.objects",
      ),
    );
    const { log } = this.#source;
    const written = new Map<string, Buffer>();
    for (const [name, { bytes }] of log.uploads) written.set(`image_uploads/${name}`, bytes);
    for (const { url, bytes } of log.completions.values()) {
      written.set(decodeURIComponent(new URL(url).pathname).replace("/storage/v1/object/public/", ""), bytes);
    }
    const found = new Map<string, Buffer>();
    const half: string[] = [];
    const left = [...rows];
    const download = async () => {
      for (let row = left.pop(); row; row = left.pop()) {
        const place = `${row.bucket}/${row.name}`;
        const answer = await this.#get(`/storage/v1/object/${encodeURI(place)}`, this.#asService);
        const expected = written.get(place);
        if (answer.status !== 200) half.push(`${place} (${answer.status})`);
        else if (answer.bytes.length !== row.size) half.push(`${place} has ${answer.bytes.length} bytes`);
        else if (expected && !answer.bytes.equals(expected)) half.push(`${place} has other bytes`);
        found.set(place, answer.bytes);
      }
    };
    await Promise.all([download(), download(), download(), download()]);
    this.#report.none(
      "Files whose row is there without its content",
      half.length,
      counted(half, rows.length),
    );

    const wrong: string[] = [];
    for (const [name, { contents }] of replacer.files) {
      const bytes = found.get(`image_uploads/${name}`);
      const possible = contents.slice(Math.max(0, begin.files.get(name) ?? 0));
      const isPossible = possible.some((content) => (content ? bytes?.equals(content) : !bytes));
      if (!isPossible && (bytes || (begin.files.get(name) ?? -1) >= 0)) wrong.push(name);
    }
    this.#report.none(
      "Replaced files that are as they were before the backup began, or lost",
      wrong.length,
      counted(wrong, replacer.files.size),
    );
  }

  async #checkTasks(): Promise<void> {
    const doubled = await withSession(this.#host.keys.DB_URL, (session) =>
      session.query<{ ref: string }>(
        `select params ->> 'client_ref' as ref from all_tasks
          where params ? 'client_ref' group by 1 having count(*) > 1`,
      ),
    );
    this.#report.none("Tasks that are there twice", doubled.length);
  }

  /** With sessions of before the backup, and without a filter. */
  async #checkReads({ log }: BackupBegin): Promise<void> {
    let [reads, foreign] = [0, 0];
    const refused: string[] = [];
    for (const { userId, projectId } of log.people) {
      const session = log.sessionHistory.get(userId)?.at(-1);
      const headers = bearer(session?.accessToken ?? "");
      const user = await this.#get("/auth/v1/user", headers);
      if (user.status !== 200 || user.body["id"] !== userId) refused.push(`${userId} (${user.status})`);
      for (const [table, column] of Object.entries(ownTables)) {
        const answer = await this.#get(`/rest/v1/${table}?select=${column}`, headers);
        if (answer.status !== 200) {
          refused.push(`${table} of ${userId} (${answer.status})`);
          continue;
        }
        reads++;
        const rows = rowsOf(answer);
        const own = column === "user_id" ? userId : projectId;
        foreign += rows.filter((row) => row[column] !== own).length;
        if (table === "projects" && rows.length === 0) refused.push(`no project of ${userId}`);
      }
    }
    const what = "Reads that are refused to access tokens of before the backup";
    this.#report.none(what, refused.length, counted(refused, reads));
    this.#report.none("Rows of another user in them", foreign, `${foreign} in ${reads} reads`);
  }

  /**
   * The newest session that the backup knows must refresh: the last one of before the backup, or one that followed.
   * The newest is tried first, because an older one that was used again would end those after it.
   */
  async #checkSessions({ log }: BackupBegin): Promise<void> {
    const lost: string[] = [];
    for (const [userId, before] of log.sessionHistory) {
      const all = this.#source.log.sessionHistory.get(userId) ?? [];
      let isAccepted = false;
      for (const { refreshToken } of all.slice(before.length - 1).toReversed()) {
        const answer = await this.#client.call({
          service: "auth",
          path: "/auth/v1/token?grant_type=refresh_token",
          headers: this.#asAnyone,
          body: { refresh_token: refreshToken },
        });
        isAccepted = answer.status === 200;
        if (isAccepted) break;
      }
      if (!isAccepted) lost.push(userId);
    }
    this.#report.none(
      "Sessions of before the backup that no longer refresh",
      lost.length,
      counted(lost, log.sessionHistory.size),
    );
  }

  async #checkTokens({ tokens }: BackupBegin): Promise<void> {
    const wrong: string[] = [];
    for (const { token, projectId, isRevoked } of tokens) {
      const { status } = await this.#client.call({
        service: "functions",
        path: "/functions/v1/tasks-list",
        headers: bearer(token),
        body: { project_id: projectId, limit: 1 },
      });
      if (status !== (isRevoked ? 401 : 200)) wrong.push(`${isRevoked ? "revoked" : "valid"}: ${status}`);
    }
    this.#report.none(
      "Personal access tokens that are refused, or accepted after they were revoked",
      wrong.length,
      counted(wrong, tokens.length),
    );
  }

  get #asAnyone(): Record<string, string> {
    return { apikey: this.#source.options.keys.PUBLISHABLE_KEY };
  }

  get #asService(): Record<string, string> {
    const { SERVICE_ROLE_KEY } = this.#source.options.keys;
    return { ...bearer(SERVICE_ROLE_KEY), apikey: SERVICE_ROLE_KEY };
  }

  async #get(path: string, headers: Record<string, string>): Promise<Answer> {
    const service = path.startsWith("/storage") ? "storage" : "rest";
    return await this.#client.call({
      service,
      path,
      method: "GET",
      headers: { ...this.#asAnyone, ...headers },
    });
  }
}

function counted(found: string[], all: number): string {
  const examples = found.length === 0 ? "" : `: ${found.slice(0, 3).join("; ")}`;
  return `${found.length} of ${all}${examples}`;
}
