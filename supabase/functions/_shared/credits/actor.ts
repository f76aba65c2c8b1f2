import { text } from "../http/fields.ts";

/** Who decides where nobody is named: whoever has the service key. */
export const serviceActor = "service_role";

/** The operator behind a decision about money, for the record. */
export const actor = text(200)
  .trim()
  .min(1)
  .describe("the operator who decided it, for the record; `service_role` unless said");
