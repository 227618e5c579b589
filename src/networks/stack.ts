/** Whether tensors outside layers belong before or after the layers. */

/**
 * Words for tensors before the first layer: embeddings of tokens, positions and patches, and their norms. All other
 * tensors outside layers (final norm, head, pooler) come after the last layer.
 */
const BEFORE =
  /(^|\.)shared\.weight$|(^|[._])(\w*embed(s|ding|dings|der)?|embed_in|wte|wpe|[ct]ls_token|mask_token|stem|patch\w*|project_in|ln_pre|pre_layer_?norm)([._]|$)/i
const AFTER = /(^|[._])(embed_out|lm_head|unembed\w*|output_embeddings)([._]|$)/i

/** Decided by the name. Checkpoints have no other sign of it. */
export const standsBeforeLayers = (name: string): boolean => BEFORE.test(name) && !AFTER.test(name)
