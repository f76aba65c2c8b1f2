import { compare, hash as bcryptHash } from "bcryptjs";
import { AuthError, validationFailed } from "./auth-error.ts";

// As GoTrue: its users could come here, and ours go there, with their passwords.
const cost = 10;
const shortest = 6;
/** bcrypt looks at no more; a longer password would be as good as its beginning. */
const longestBytes = 72;

/** @throws AuthError `weak_password`, `validation_failed` */
export async function hashPassword(password: string): Promise<string> {
  if ([...password].length < shortest) {
    throw new AuthError(422, "weak_password", `Password should be at least ${shortest} characters.`, {
      weak_password: { reasons: ["length"] },
    });
  }
  if (Buffer.byteLength(password) > longestBytes) {
    throw validationFailed(`Password cannot be longer than ${longestBytes} bytes`);
  }
  return await bcryptHash(password, cost);
}

/** Of the same cost, and of a password that nobody ever knew. */
const nobodysHash = "$2b$10$JJeBTUJ6J21jK0msNebN.OQFP04JqBRumFPEMC6GSjWLPv83Oym0W";

/** Takes as long when there is no hash: time does not tell who has an account. */
export async function isPassword(password: string, hash: string | null | undefined): Promise<boolean> {
  const matches = await compare(password, hash ?? nobodysHash);
  return matches && hash !== null && hash !== undefined && Buffer.byteLength(password) <= longestBytes;
}
