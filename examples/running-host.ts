/** What the examples share: the host that runs here, and how they end when something is wrong. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** The host's address and public key: from the environment, else from the host that runs here. */
export async function runningHost(): Promise<{ url: string; anonKey: string }> {
  const { SUPABASE_URL: givenUrl, SUPABASE_ANON_KEY: givenKey } = process.env;
  if (givenUrl && givenKey) return { url: givenUrl, anonKey: givenKey };
  const run = promisify(execFile)("npm", ["run", "-s", "status"], { shell: process.platform === "win32" });
  const status = await run.catch(() => fail("No host runs here. Start one: npm start"));
  const { API_URL, ANON_KEY } = JSON.parse(status.stdout) as { API_URL: string; ANON_KEY: string };
  return { url: API_URL, anonKey: ANON_KEY };
}

export function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
