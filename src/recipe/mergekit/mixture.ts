/** Converts a configuration of mergekit-moe to a recipe with a `moe` step. */
import { ownValue } from '../../core/collections/ownValue.js'
import { quote } from '../../core/suggest.js'
import { childOf, type MapNode, type Node, type Span } from '../../language/tree.js'
import { ALL } from '../../steps/moe/architectures.js'
import type { Complaints } from './complaints.js'
import { type ModelBook, modelBook } from './models.js'
import { type Comments, list, mapping, text } from './nodes.js'
import { given, knownKeys, needKey } from './read.js'
import { type Places, readReference } from './reference.js'

const TOP = [
  ...['base_model', 'gate_mode', 'dtype', 'experts_per_token', 'experts', 'shared_experts', 'architecture'],
  // Not of mergekit: the file for gate_mode: hidden, and a flag of its command line.
  ...['statistics', 'equal_experts'],
]
const EXPERT = ['source_model', 'positive_prompts', 'negative_prompts', 'noise_scale', 'residual_scale']

const GATES: Readonly<Record<string, string>> = {
  random: 'random',
  uniform_random: 'uniform_random',
  cheap_embed: 'embedding',
  hidden: 'statistics',
  hidden_avg: 'statistics',
  hidden_last: 'statistics',
}

/** Whether a configuration of mergekit is one of mergekit-moe, even if one of its keys is missing, or merge_method is there. */
export const isMixture = (root: MapNode): boolean =>
  root.entries.has('merge_method')
    ? root.entries.has('experts') && !['models', 'slices', 'modules'].some((key) => root.entries.has(key))
    : ['experts', 'gate_mode', 'experts_per_token'].some((key) => root.entries.has(key))

/** Whether it has what every mixture needs. Error: `missing-key`. */
export function hasMixtureKeys(root: MapNode, complain: Complaints): boolean {
  needKey(root, 'base_model', 'write base_model: MODEL', complain)
  needKey(root, 'experts', 'list the experts: [{source_model: MODEL, positive_prompts: […]}]', complain)
  return !complain.broken()
}

/** Undefined after errors. `name`: of the step. */
export function convertMixture(
  root: MapNode,
  places: Places,
  complain: Complaints,
  comments: Comments,
  {
    seed,
    shardSize,
    path,
  }: { readonly seed?: Node | undefined; readonly shardSize?: Node | undefined; readonly path: string },
): MapNode | undefined {
  knownKeys(root, TOP, complain)
  const models = modelBook(['mixture'], places, complain)
  const experts = childOf(root, 'experts')!
  const at = experts.span
  const gate = gateOf(root, at, complain)
  const base = modelOf(childOf(root, 'base_model')!, models, complain)
  const [shared, ...more] = itemsOf(given(root, 'shared_experts'))
  if (more.length > 0)
    complain.error('bad-value', `there are ${more.length + 1} shared experts`, more[0]!.span, 'list one shared expert')
  const step = mapping(
    [
      ['base', base],
      ['gate', gate],
      ['statistics', given(root, 'statistics')],
      ['equal_experts', given(root, 'equal_experts')],
      ['architecture', architectureOf(root, places, complain)],
      ['experts_per_token', given(root, 'experts_per_token')],
      [
        'experts',
        list(
          itemsOf(experts).map((one) => expertOf(one, EXPERT_KEYS, models, complain)),
          at,
        ),
      ],
      ['shared_expert', shared && expertOf(shared, SHARED_KEYS, models, complain)],
    ],
    at,
  )
  const dtype = given(root, 'dtype')
  const output = mapping(
    [
      ['path', text(path, at)],
      ['dtype', dtype?.kind === 'scalar' ? text(dtype.source.replace(/^torch\./, ''), dtype.span) : dtype],
      ['shard_size', shardSize],
    ],
    at,
  )
  const target = output.entries.size === 1 ? output.entries.get('path')!.value : output
  comments.set(target, 'mergekit takes the path from the command line')
  if (complain.broken()) return undefined
  return mapping(
    [
      ['terge', text(1, at)],
      ['models', mapping(models.entries(), at)],
      ['steps', mapping([['mixture', mapping([['moe', step]], at)]], at)],
      ['seed', seed],
      ['output', target],
    ],
    at,
  )
}

const itemsOf = (node: Node | undefined): readonly Node[] => (node?.kind === 'list' ? node.items : [])

const scalarOf = (node: Node | undefined): string | undefined =>
  node?.kind === 'scalar' && node.value !== null ? node.source : undefined

const shellWord = (path: string): string => (/^[\w./\\:~+-]+$/.test(path) ? path : JSON.stringify(path))

function gateOf(root: MapNode, at: Span, complain: Complaints): Node | undefined {
  const written = given(root, 'gate_mode')
  const mode = scalarOf(written) ?? 'hidden'
  const gate = ownValue(GATES, mode)
  const place = written?.span ?? at
  if (gate === undefined)
    complain.error('bad-value', `${quote(mode)} is not a gate_mode`, place, `one of ${Object.keys(GATES).join(', ')}`)
  else if (gate === 'statistics' && !given(root, 'statistics')) {
    const file = at.origin.file
    // Relative paths are relative to the configuration.
    const beside = file.replace(/[^\\/]*$/, 'hidden.safetensors')
    complain.error(
      'missing-statistics',
      `gate_mode: ${mode}${written ? '' : ', the default,'} needs the hidden states of the prompts, and terge runs no network`,
      place,
      `run mixture_statistics.py, the script of docs/mixtures.md: python mixture_statistics.py ${shellWord(file)} ${shellWord(beside)}; then write statistics: hidden.safetensors, or add --set statistics=hidden.safetensors to terge run; or write gate_mode: cheap_embed`,
    )
  }
  return gate === undefined ? undefined : text(gate, place)
}

/** The architecture whose title begins with a text. With both kinds of Qwen, the base's names tell which. */
function architectureOf(root: MapNode, { known }: Places, complain: Complaints): Node | undefined {
  const written = given(root, 'architecture')
  const wanted = scalarOf(written)?.toLowerCase()
  if (!written || !wanted) return undefined
  const architectures = Object.values(ALL)
  const found = architectures.filter(({ title }) => title.toLowerCase().startsWith(wanted))
  const [first, second] = found
  if (!first) {
    const titles = architectures.map(({ title }) => title).join(', ')
    complain.error(
      'bad-value',
      `no architecture begins with ${quote(scalarOf(written)!)}`,
      written.span,
      `the architectures are ${titles}; their beginnings select them`,
    )
    return undefined
  }
  if (!second) return text(first.name, written.span)
  // Norms of queries are what Qwen3 has and Qwen2 has not.
  const qwen3 = [...known.values()].some((names) => names.some((name) => name.includes('.self_attn.q_norm.')))
  return text(qwen3 ? 'qwen3_moe' : 'qwen2_moe', written.span)
}

const EXPERT_KEYS = { noise: 'noise_scale', scale: 'residual_scale' }
const SHARED_KEYS = { noise: 'noise', scale: 'scale' }

function modelOf(node: Node, models: ModelBook, complain: Complaints): Node | undefined {
  const reference = readReference(node, complain)
  return reference && text(models.find(reference).name, node.span)
}

function expertOf(node: Node, keys: typeof EXPERT_KEYS, models: ModelBook, complain: Complaints): Node {
  const source = childOf(node, 'source_model')
  if (node.kind !== 'map' || !source) {
    complain.error('missing-key', "an expert needs the key 'source_model'", node.span, 'write source_model: MODEL')
    return node
  }
  knownKeys(node, EXPERT, complain)
  const some = (key: string): Node | undefined => {
    const value = given(node, key)
    return value?.kind === 'list' && value.items.length === 0 ? undefined : value
  }
  return mapping(
    [
      ['model', modelOf(source, models, complain)],
      ['prompts', some('positive_prompts')],
      ['negative', some('negative_prompts')],
      [keys.scale, some('residual_scale')],
      [keys.noise, some('noise_scale')],
    ],
    node.span,
  )
}
