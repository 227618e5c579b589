/** Rules of modules of diffusion models: names in an original file, and what they are made of in diffusers. */
import { leavesOf } from '../../forms.js'
import { nameOf } from '../../names.js'
import type { Form, LayoutRule, NamePattern } from '../../types.js'

/** A tensor of an original module, and the diffusers tensors that it is made of. Both without the module's prefix. */
export type ModuleRule = readonly [original: NamePattern, is: Form]

/** The same form over atoms under a prefix. */
function under(prefix: string, form: Form): Form {
  if (typeof form === 'string') return `${prefix}${form}`
  if ('concat' in form) return { ...form, concat: form.concat.map((part) => under(prefix, part)) }
  if ('stack' in form) return { ...form, stack: under(prefix, form.stack) }
  if ('transpose' in form) return { transpose: under(prefix, form.transpose) }
  if ('expand' in form) return { ...form, expand: under(prefix, form.expand) }
  return { ...form, swapHalves: under(prefix, form.swapHalves) }
}

/** A module of a pipeline, and where its tensors are. */
export interface Module {
  readonly rules: readonly ModuleRule[]
  /** `model.diffusion_model.`, in an original file. */
  readonly original: string
  /** `unet.`, in a pipeline of diffusers. Atoms have this prefix. */
  readonly diffusers: string
}

/** The rules of an original file. `prefix`: instead of the module's. */
export const originalRules = ({ rules, original, diffusers }: Module, prefix = original): LayoutRule[] =>
  rules.map(([name, is]) => ({ tensor: `${prefix}${name}`, is: under(diffusers, is) }))

/**
 * The rules of a module of diffusers, which stores every atom by itself. `prefix`: instead of the module's. `named`: other
 * names of atoms.
 */
export function diffusersRules(
  { rules, diffusers }: Module,
  prefix = diffusers,
  named: (atom: NamePattern) => NamePattern = (atom) => atom,
): LayoutRule[] {
  const atoms = new Set(rules.flatMap(([, is]) => leavesOf(is)))
  return [...atoms].map((atom) => ({ tensor: `${prefix}${named(atom)}`, is: `${diffusers}${atom}` }))
}

/** Everything that no rule names has a place in no other form. */
export const ONLY: readonly NamePattern[] = ['{rest}']

/** A tensor's name in the other form, by rules that change no values. Undefined if a rule joins it with others, or none matches. */
export function renamedBy(
  rules: readonly ModuleRule[],
  name: string,
  to: 'original' | 'diffusers',
): string | undefined {
  for (const [original, is] of rules) {
    const atom = typeof is === 'object' && 'expand' in is ? is.expand : is
    if (typeof atom !== 'string') continue
    const [from, target] = to === 'original' ? [atom, original] : [original, atom]
    const captures = nameOf(from).match(name)
    if (captures) return nameOf(target).fill(captures)
  }
  return undefined
}
