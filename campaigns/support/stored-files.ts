/** Reads back every file that a row names, and every one that a client wrote or tried to. */
import { AnswerBook, ApiClient, bearer } from "./api-client.ts";
import type { Report } from "./campaign.ts";
import { withSession } from "./database.ts";
import type { FileReplacer } from "./file-replacer.ts";
import type { HostProcess } from "./host-process.ts";
import type { Load } from "./load.ts";

/** Call it when nobody writes any more. */
export async function checkContents(
  host: HostProcess,
  { log }: Load,
  replacer: FileReplacer,
  report: Report,
): Promise<void> {
  const rows = await withSession(host.keys.DB_URL, (session) =>
    session.query<{ place: string; size: number }>(
      "select bucket_id || '/' || name as place, (metadata ->> 'size')::int as size from storage.objects",
    ),
  );
  const sizes = new Map(rows.map(({ place, size }) => [place, size]));
  const written = new Map<string, Buffer>();
  for (const [name, { bytes }] of log.uploads) written.set(`image_uploads/${name}`, bytes);
  for (const { url, bytes } of log.completions.values()) {
    written.set(decodeURIComponent(new URL(url).pathname).replace("/storage/v1/object/public/", ""), bytes);
  }
  const replaced = new Map([...replacer.files].map(([name, history]) => [`image_uploads/${name}`, history]));
  const client = new ApiClient([host.url], new AnswerBook(), 295);
  const [missing, wrong]: [string[], string[]] = [[], []];
  const places = new Set([...sizes.keys(), ...written.keys(), ...replaced.keys()]);
  const left = [...places];
  async function readBack(): Promise<void> {
    for (let place = left.pop(); place !== undefined; place = left.pop()) {
      const answer = await client.call({
        service: "storage",
        path: `/storage/v1/object/${encodeURI(place)}`,
        method: "GET",
        headers: { ...bearer(host.keys.SERVICE_ROLE_KEY), apikey: host.keys.SERVICE_ROLE_KEY },
      });
      const bytes = answer.status === 200 ? answer.bytes : null;
      const size = sizes.get(place);
      if (size !== undefined && bytes?.length !== size) missing.push(`${place} (${answer.status})`);
      const [expected, history] = [written.get(place), replaced.get(place)];
      if (expected && !bytes?.equals(expected)) wrong.push(`${place} (${answer.status})`);
      if (!history) continue;
      const possible = history.contents.slice(Math.max(0, history.acknowledged));
      if (history.acknowledged < 0) possible.push(null);
      if (!possible.some((content) => (content ? bytes?.equals(content) : !bytes))) {
        wrong.push(`${place} (${answer.status})`);
      }
    }
  }
  await Promise.all([readBack(), readBack(), readBack(), readBack()]);
  client.close();
  report.none("Files whose row is there without its content", missing.length, counted(missing, sizes.size));
  report.none(
    "Files that are neither as acknowledged nor as tried since",
    wrong.length,
    counted(wrong, places.size),
  );
}

function counted(found: string[], of: number): string {
  return `${found.length} of ${of}${found.length > 0 ? `: ${found.slice(0, 3).join("; ")}` : ""}`;
}
