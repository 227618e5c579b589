/**
 * What an editor offers, shows and marks in a recipe. `‸` is the cursor. Each text gets a head, unless it has its own.
 */
export const HEAD = 'terge: 1\nmodels: {a: ./a, b: ./b, c: ./c}\n'
/** For recipes that need nothing but the step under test. */
const BASED = `${HEAD}base: a\noutput: ./out\n`
const merged = (rest: string): string => `${BASED}merge: {method: linear}\n${rest}`
const stepped = (rest: string): string => `${HEAD}base: a\noutput: ./out\nsteps:\n${rest}`

export interface Completion {
  readonly at: string
  readonly offered: readonly string[]
  readonly absent?: readonly string[]
}

const TOP_LEVEL = [
  'terge',
  'models',
  'base',
  'filters',
  'rebasin',
  'merge',
  'repair',
  'zip',
  'steps',
  'compute',
  'seed',
]
const KINDS = ['merge', 'rebasin', 'repair', 'interpolate', 'stack', 'extract', 'zip']
const MERGE = ['method', 'models', 'weights', 'parameters', 'rules', 'base', 'filters', 'on_missing', 'on_mismatch']

/** By the text before and at the cursor. */
export const COMPLETIONS: readonly Completion[] = [
  { at: '‸', offered: [...TOP_LEVEL, 'tokenizer', 'chat_template', 'output', 'outputs', 'evaluate', 'search'] },
  { at: `${HEAD}‸`, offered: ['merge', 'steps', 'output', 'base'], absent: ['terge', 'models'] },
  { at: `${HEAD}m‸`, offered: ['merge'] },
  { at: `${HEAD}out‸`, offered: ['output', 'outputs'] },
  { at: `${HEAD}compute: ‸`, offered: ['float32', 'float64'] },
  { at: `${HEAD}seed: 1\n‸`, offered: ['merge'], absent: ['seed'] },
  // Merge.
  { at: `${BASED}merge: {m‸}\n`, offered: MERGE, absent: ['match'] },
  { at: `${BASED}merge:\n  ‸\n`, offered: MERGE, absent: ['match'] },
  { at: `${BASED}merge:\n  m‸\n`, offered: ['method', 'models'] },
  { at: `${BASED}merge:\n  method: ‸\n`, offered: ['linear', 'arithmetic', 'slerp', 'ties', 'fisher', 'star'] },
  { at: `${BASED}merge:\n  method: s‸\n`, offered: ['slerp', 'sce', 'star'] },
  { at: `${BASED}merge: {method: s‸}\n`, offered: ['slerp', 'sce', 'star'] },
  { at: `${BASED}merge: {method: linear, w‸}\n`, offered: ['weights'], absent: ['method'] },
  { at: `${BASED}merge: {method: slerp, p‸}\n`, offered: ['parameters'] },
  { at: `${BASED}merge:\n  method: slerp\n  ‸\n`, offered: ['parameters', 'models', 'rules'], absent: ['method'] },
  { at: `${BASED}merge:\n  method: slerp\n  parameters:\n    ‸\n`, offered: ['t'], absent: ['density'] },
  { at: `${BASED}merge: {method: slerp, parameters: {t‸}}\n`, offered: ['t'], absent: ['density'] },
  {
    at: `${BASED}merge:\n  method: ties\n  parameters:\n    ‸\n`,
    offered: ['density', 'normalize', 'lambda', 'rescale', 'lines'],
    absent: ['t'],
  },
  { at: `${BASED}merge: {method: ties, parameters: {d‸}}\n`, offered: ['density', 'lines'], absent: ['epsilon'] },
  { at: `${BASED}merge: {method: dare_ties, parameters: {r‸}}\n`, offered: ['rescale'] },
  { at: `${BASED}merge:\n  method: linear\n  on_missing: ‸\n`, offered: ['copy', 'keep', 'error'] },
  { at: `${BASED}merge: {method: linear, on_mismatch: c‸}\n`, offered: ['copy', 'crop', 'error'] },
  { at: `${BASED}merge: {method: linear, dtype: b‸}\n`, offered: ['bfloat16'] },
  { at: `${BASED}merge:\n  method: ties\n  parameters:\n    normalize: ‸\n`, offered: ['true', 'false'] },
  // Rules.
  { at: `${BASED}merge:\n  method: ties\n  rules:\n    - ‸\n`, offered: ['match', 'method', 'weights', 'parameters'] },
  { at: `${BASED}merge:\n  method: ties\n  rules:\n    - {m‸}\n`, offered: ['match', 'method', 'models'] },
  { at: `${BASED}merge:\n  method: ties\n  rules:\n    - match: x\n      ‸\n`, offered: ['method', 'parameters'] },
  { at: `${BASED}merge:\n  method: ties\n  rules:\n    - match: x\n      method: ‸\n`, offered: ['linear', 'slerp'] },
  // Without a method, a rule has the parameters of the merge.
  {
    at: `${BASED}merge:\n  method: ties\n  rules:\n    - match: x\n      parameters: {d‸}\n`,
    offered: ['density', 'lines'],
    absent: ['t'],
  },
  {
    at: `${BASED}merge:\n  method: ties\n  rules:\n    - match: x\n      method: slerp\n      parameters:\n        ‸\n`,
    offered: ['t'],
    absent: ['density'],
  },
  { at: `${BASED}merge:\n  method: linear\n  filters: {i‸}\n`, offered: ['include', 'exclude'] },
  // Steps.
  { at: stepped('  one:\n    ‸\n'), offered: KINDS },
  { at: stepped('  one: {r‸}\n'), offered: KINDS },
  { at: stepped('  one:\n    i‸\n'), offered: KINDS },
  { at: stepped('  one:\n    merge:\n      ‸\n'), offered: MERGE },
  { at: stepped('  one: {merge: {method: k‸}}\n'), offered: ['karcher', 'knots'] },
  { at: stepped('  one: {merge: {method: slerp, parameters: {t‸}}}\n'), offered: ['t'] },
  { at: stepped('  one:\n    interpolate:\n      ‸\n'), offered: ['from', 'to', 'points', 'at', 'method', 'keep'] },
  { at: stepped('  one: {interpolate: {from: a, to: b, p‸}}\n'), offered: ['points', 'at'], absent: ['from', 'to'] },
  { at: stepped('  one: {interpolate: {from: a, to: b, method: s‸}}\n'), offered: ['linear', 'slerp'] },
  { at: stepped('  one:\n    extract:\n      lora:\n        ‸\n'), offered: ['from', 'base', 'rank', 'alpha'] },
  { at: stepped('  one: {extract: {lora: {from: b, base: a, rank: 8, method: e‸}}}\n'), offered: ['exact', 'auto'] },
  { at: stepped('  one:\n    stack:\n      - ‸\n'), offered: ['model', 'layers', 'of'] },
  // Alignment.
  { at: `${BASED}rebasin:\n  ‸\n`, offered: ['model', 'onto', 'models', 'method', 'spec', 'symmetry', 'seed'] },
  { at: merged('rebasin: {model: b, o‸}\n'), offered: ['onto'], absent: ['model'] },
  { at: merged('rebasin:\n  model: b\n  onto: a\n  spec: ‸\n'), offered: ['auto', 'llama', 'gpt2', 'chain'] },
  { at: merged('rebasin: {model: b, onto: a, spec: l‸}\n'), offered: ['auto', 'llama'] },
  { at: merged('rebasin: {model: b, onto: a, spec: {t‸}}\n'), offered: ['groups', 'tensors', 'kept'] },
  { at: merged('rebasin: {models: [a, b], method: m‸}\n'), offered: ['merge-many', 'c2m3'] },
  { at: merged('rebasin: {model: b, onto: a, symmetry: o‸}\n'), offered: ['permutation', 'orthogonal'] },
  { at: merged('repair: {b‸}\n'), offered: ['batch_norm', 'model'] },
  // Tokenizers, templates, models, outputs.
  { at: merged('tokenizer: ‸'), offered: ['base', 'union'] },
  { at: merged('tokenizer: u‸\n'), offered: ['base', 'union'] },
  { at: merged('tokenizer:\n  ‸\n'), offered: ['source', 'tokens', 'pad_to_multiple_of'] },
  { at: merged('tokenizer: {s‸}\n'), offered: ['source', 'tokens', 'pad_to_multiple_of'] },
  { at: merged('tokenizer: {source: u‸}\n'), offered: ['base', 'union'] },
  { at: merged('tokenizer: {source: base, p‸}\n'), offered: ['pad_to_multiple_of'], absent: ['source'] },
  { at: merged('chat_template: ‸'), offered: ['chatml', 'llama3', 'alpaca', 'mistral', 'exaone'] },
  { at: merged('chat_template: c‸\n'), offered: ['chatml', 'llama3'] },
  { at: 'terge: 1\nmodels:\n  a:\n    ‸\n', offered: ['path', 'hub', 'revision', 'sha256', 'lora', 'rename'] },
  { at: 'terge: 1\nmodels:\n  a: {h‸}\n', offered: ['path', 'hub'] },
  { at: 'terge: 1\nmodels:\n  a: {hub: x/y, r‸}\n', offered: ['revision', 'rename'], absent: ['hub'] },
  {
    at: `${HEAD}merge: {method: linear}\noutput:\n  ‸\n`,
    offered: ['path', 'from', 'dtype', 'shard_size', 'metadata'],
  },
  { at: `${HEAD}merge: {method: linear}\noutput: {path: x, d‸}\n`, offered: ['dtype'], absent: ['path'] },
  { at: `${HEAD}merge: {method: linear}\noutput: {path: x, dtype: f‸}\n`, offered: ['float16', 'float32'] },
  { at: merged('evaluate:\n  ‸\n'), offered: ['command', 'env', 'timeout'] },
]

/** The text that is shown where the mouse rests on the cursor. */
export const HOVERS: readonly (readonly [at: string, shown: RegExp])[] = [
  [`${BASED}merge: {method: sle‸rp, parameters: {t: 1}}\n`, /^Spherical interpolation between two models\./],
  [`${BASED}merge:\n  method: lin‸ear\n`, /^The weighted average of the models\./],
  [`${BASED}merge: {method: arith‸metic}\n`, /^Another name of linear: the weighted average of the models\./],
  [`${BASED}merge: {method: ti‸es}\n`, /^Task vectors trimmed to their largest elements/],
  [`${BASED}merge: {method: dare_t‸ies}\n`, /^Randomly thinned and rescaled task vectors/],
  [`${BASED}merge: {meth‸od: linear}\n`, /^The weighted average of the models\./],
  [`${BASED}merge:\n  method: ties\n  rules:\n    - {match: x, method: kar‸cher}\n`, /^The Riemannian mean/],
  [`${BASED}merge: {method: ties, parameters: {dens‸ity: 0.5}}\n`, /fraction|share|kept|density/i],
  [`${BASED}merge: {method: slerp, parameters: {t‸: 0.5}}\n`, /Required\./],
  [`${BASED}merge: {method: linear, on_missing: ke‸ep}\n`, /^Merge the other models, or copy the tensor/],
  [stepped('  one: {mer‸ge: {method: linear}}\n'), /Merges the tensors of several models/],
  [stepped('  one: {inter‸polate: {from: a, to: b, points: 3}}\n'), /Writes checkpoints along the path/],
  [stepped('  one: {interpolate: {from: a, to: b, points: 3, method: sle‸rp}}\n'), /^Along the arc/],
  [stepped('  one: {extract: {lora: {from: b, base: a, ra‸nk: 8}}}\n'), /The rank of the adapter/],
  [merged('rebasin: {model: b, onto: a, spec: au‸to}\n'), /Detects the family/],
  [merged('rebasin: {models: [a, b], method: c2‸m3}\n'), /^C²M³: aligns several models at once/],
  [merged('tokenizer: uni‸on\n'), /The tokens of all models\./],
  [merged('token‸izer: union\n'), /The tokens of all models\./],
  [merged('chat_template: chat‸ml\n'), /The chat template chatml\./],
  [merged('seed‸: 3\n'), /The seed of all random choices/],
]

/** Recipes that terge refuses. `# !` marks each line with an error, for terge and for the editor. */
export const BROKEN: Readonly<Record<string, string>> = {
  'an unknown method': `${BASED}merge: {method: lineer} # !\n`,
  'an unknown method in a block': `${BASED}merge:\n  method: lineer # !\n`,
  'an unknown method of a rule': `${BASED}merge:\n  method: linear\n  rules:\n    - {match: x, method: lineer} # !\n`,
  'slerp without t': `${BASED}merge: {method: slerp, models: [a, b]} # !\n`,
  'slerp with parameters without t': `${BASED}merge:\n  method: slerp\n  models: [a, b]\n  parameters: {} # !\n`,
  'nearswap without t': `${BASED}merge: {method: nearswap, models: [a, b]} # !\n`,
  'a step of slerp without t': stepped('  one: {merge: {method: slerp, models: [a, b]}} # !\n'),
  'a rule of slerp without t': `${BASED}merge:\n  method: linear\n  models: [a, b]\n  rules:\n    - {match: x, method: slerp} # !\n`,
  'a parameter of another method': `${BASED}merge: {method: linear, parameters: {density: 1}} # !\n`,
  'a misspelt parameter of a rule': `${BASED}merge:\n  method: linear\n  rules:\n    - match: x\n      parameters: {normalise: true} # !\n`,
  'a parameter of the wrong type': `${BASED}merge: {method: ties, parameters: {density: high}} # !\n`,
  'a parameter above its bound': `${BASED}merge: {method: ties, parameters: {density: 1.5}} # !\n`,
  'weights of a method without weights': `${BASED}merge:\n  method: median\n  weights: [1, 2, 3] # !\n`,
  'too many models': `${BASED}merge: {method: slerp, models: [a, b, c], parameters: {t: 0.5}} # !\n`,
  'too few models': `${BASED}merge:\n  method: slerp\n  models: [a] # !\n  parameters: {t: 0.5}\n`,
  'a model twice': `${BASED}merge: {method: linear, models: [a, b, a]} # !\n`,
  'arcee_fusion without a base': `${HEAD}output: ./out\nmerge: {method: arcee_fusion, models: [a, b]} # !\n`,
  'a step of arcee_fusion without a base': `${HEAD}output: ./out\nsteps:\n  one:\n    merge:\n      models: [a, b]\n      method: arcee_fusion # !\n`,
  'a rule that needs a base': `${HEAD}output: ./out\nmerge:\n  method: linear\n  rules:\n    - {match: x, method: arcee_fusion, models: [a, b]} # !\n`,
  'a merge without a method': `${BASED}merge: {weights: [1, 1, 1]} # !\n`,
  'no output': `# The head. # !\n${HEAD}merge: {method: linear}\n`.replace(/^.*\nterge: 1/, 'terge: 1 # !'),
  'both output and outputs': `${HEAD}merge: {method: linear}\noutput: ./a # !\noutputs: [{path: ./b}]\n`,
  'no step': `${BASED}`.replace('terge: 1', 'terge: 1 # !'),
  'a size that is no size': `${HEAD}merge: {method: linear}\noutput: {path: ./o, shard_size: 5 lots} # !\n`,
  'a size that is too small': `${HEAD}merge: {method: linear}\noutput: {path: ./o, shard_size: 3} # !\n`,
  'a size with an unknown unit': `${HEAD}merge: {method: linear}\noutput: {path: ./o, shard_size: 5GiG} # !\n`,
  'an unknown dtype': `${HEAD}merge: {method: linear}\noutput: {path: ./o, dtype: float13} # !\n`,
  'an output without a path': `${HEAD}merge: {method: linear}\noutput: {dtype: float16} # !\n`,
  'an interpolation without points': stepped('  one: {interpolate: {from: a, to: b}} # !\n'),
  'an interpolation with points and at': stepped(
    '  one:\n    interpolate:\n      from: a\n      to: b\n      points: 3\n      at: [0.5] # !\n',
  ),
  'one point': stepped('  one: {interpolate: {from: a, to: b, points: 1}} # !\n'),
  'a point twice': stepped('  one: {interpolate: {from: a, to: b, at: [0.5, 0.5]}} # !\n'),
  'a step of two kinds': stepped(
    '  one:\n    merge: {method: linear}\n    extract: {lora: {from: b, base: a, rank: 1}} # !\n',
  ),
  'a step without a kind': stepped('  one: {} # !\n'),
  'an unknown kind': stepped('  one: {merg: {method: linear}} # !\n'),
  'an alignment without onto': merged('rebasin: {model: b} # !\n'),
  'a joint alignment with a model': merged('rebasin:\n  models: [a, b]\n  method: c2m3\n  model: b # !\n'),
  'a joint alignment by weight matching': merged('rebasin: {models: [a, b]} # !\n'),
  'a joint method for one model': merged('rebasin: {model: b, onto: a, method: c2m3} # !\n'),
  'an alignment of a model with itself': merged('rebasin: {models: [a, a], method: c2m3} # !\n'),
  'a repair without a merge': `${BASED}repair: {batch_norm: correlation} # !\n`,
  'steps and a short form': `${HEAD}output: ./out\nmerge: {method: linear} # !\nsteps:\n  one: {merge: {method: linear}}\n`,
  'a base in the recipe and in merge': `${BASED}merge:\n  method: linear\n  base: a # !\n`,
  'a model without a place': 'terge: 1\nmodels: {a: {}, b: b} # !\nmerge: {method: linear}\noutput: ./o\n',
  'a model with two places':
    'terge: 1\nmodels:\n  a: ./a\n  b: {path: b, hub: x/y} # !\nmerge: {method: linear}\noutput: ./o\n',
  'a hub reference without a name':
    'terge: 1\nmodels:\n  a: ./a\n  b: hf:nobody # !\nmerge: {method: linear}\noutput: ./o\n',
  'a scale without an adapter':
    'terge: 1\nmodels:\n  a: ./a\n  b: {path: b, lora_scale: 2} # !\nmerge: {method: linear}\noutput: ./o\n',
  'a token without its text': merged(
    'tokenizer: {source: union, tokens: {x: {source: {kind: model_token, model: a}}}} # !\n',
  ),
  'a tokenizer without a source': merged('tokenizer: {pad_to_multiple_of: 8} # !\n'),
  'an unknown key': merged('tokeniser: union # !\n'),
  'another version': `${HEAD.replace('terge: 1', 'terge: 2 # !')}merge: {method: linear}\noutput: ./o\n`,
  'a seed below zero': merged('seed: -1 # !\n'),
}
