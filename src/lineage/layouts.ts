import type { LineageModel } from './types.js'

/** The layouts of a model in words: `mixtral/released, read as mixtral/transformers-5`. Empty if none is known. */
export const layoutText = ({ layouts = [], readAs }: Pick<LineageModel, 'layouts' | 'readAs'>): string =>
  `${layouts.join(', ')}${readAs ? `, read as ${readAs.join(', ')}` : ''}`
