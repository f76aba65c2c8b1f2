import { z } from "zod";

/** What a model does not do of what was asked, as answers carry it. */
export const pictureWarning = z.object({
  code: z
    .enum(["not_supported", "adjusted"])
    .describe("not_supported: the field is not used; adjusted: another value is used"),
  field: z.string().describe("the parameter"),
  message: z.string(),
});
