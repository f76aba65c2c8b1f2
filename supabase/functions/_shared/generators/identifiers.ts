/** What tells one run of a generator from another, as workers and browsers of the older product expect it. */
export interface RunNames {
  /** The digits of the time, to the millisecond. */
  runId: string;
  /** `<prefix>_<yymmddhh>_<six digits of a uuid>`: for people and file names. No key: that is the task's uuid. */
  readableId: string;
}

export function runNames(prefix: string, at: Date, uuid: string): RunNames {
  const runId = at.toISOString().replace(/\D/g, "");
  return { runId, readableId: `${prefix}_${runId.slice(2, 10)}_${uuid.replaceAll("-", "").slice(0, 6)}` };
}
