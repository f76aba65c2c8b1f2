import type { Logger } from "pino";
import type { Pool } from "../supabase/functions/_shared/database/pool.ts";
import type { BillingVariables } from "../supabase/functions/_shared/billing/variables.ts";
import type { PromptVariables } from "../supabase/functions/_shared/prompts/variables.ts";
import type { FalVariables } from "../supabase/functions/_shared/providers/variables.ts";
import type { S3Settings } from "./storage/s3-store.ts";

/** The keys of one installation, named as `supabase status -o json` names them. */
export interface HostKeys {
  /** HS256 secret: signs the legacy anon and service-role keys; tokens signed with it are accepted too. */
  jwtSecret: string;
  /** Legacy JWT keys (HS256, issuer "supabase", role anon / service_role). */
  anonKey: string;
  serviceRoleKey: string;
  /** `sb_publishable_…` and `sb_secret_…`, sent in `apikey` alone. */
  publishableKey: string;
  secretKey: string;
  /** Private JWK (ES256, with `kid`) that signs user sessions; its public half is the JWKS. */
  signingJwk: Record<string, unknown> & { kid: string };
}

/** What every part of the standalone host is given; nothing reads the environment by itself. */
export interface HostContext {
  /** Public base URL without a trailing slash, e.g. `http://127.0.0.1:54321`. Issuer of user tokens: `${apiUrl}/auth/v1`. */
  apiUrl: string;
  keys: HostKeys;
  /** Pool on the database as its owner (`postgres`); write transactions go here. */
  sql: Pool;
  databaseUrl: string;
  /** Folder for files of buckets, unless they are kept in an S3-compatible store. */
  storageDirectory: string;
  s3?: S3Settings | undefined;
  billing?: BillingVariables | undefined;
  fal?: FalVariables | undefined;
  prompts?: PromptVariables | undefined;
  /** Holds every answer of the functions against its contract; for development and tests. */
  checkAnswers: boolean;
  log: Logger;
}
