import { type Diagnostic, Fault } from '../core/diagnostics.js'
import { defineCommand } from './support/command.js'
import { Args, Flags, onOff, runFlags } from './support/flags.js'
import { given } from './support/options.js'
import { perform, startEarly } from './support/perform.js'

const { 'allow-commands': _, ...commonFlags } = runFlags

/** The flags that the lines of the recipe come from. */
const FLAGS = ['path', 'config', 'layout', 'drop'] as const

/** What recipes write, as the command line writes it. */
const IN_FLAGS: readonly (readonly [RegExp, string])[] = [
  [/^write (?:it for the model|the layout[^:]*): .*layout: ([^}]+)\}$/, 'give --from $1'],
  [/^to write the rest, add drop: true .*$/, 'to write the rest, give --drop'],
  [/; if its layout is another one, write layout: NAME for it$/, '; if its layout is another one, give --from NAME'],
]

/** The diagnostic with the flag instead of the place. `output`: the line where the output begins. */
function onFlag(output: number, { place, hint, message, ...rest }: Diagnostic): Diagnostic {
  const key = place && /^\s*(\w+):/.exec(place.text)?.[1]
  const isModel = place !== undefined && place.line < output
  const flag = FLAGS.find((one) => one === key)
  const shown = flag === 'path' ? (isModel ? undefined : 'output') : flag === 'layout' && isModel ? 'from' : flag
  const found = hint === undefined ? undefined : IN_FLAGS.find(([recipe]) => recipe.test(hint))
  return {
    ...rest,
    message: shown === undefined ? message : `--${shown}: ${message}`,
    ...(hint === undefined ? {} : { hint: found ? hint.replace(...found) : hint }),
  }
}

export const convert = defineCommand({
  id: 'convert',
  summary: 'Write a model in another layout.',
  description:
    'Writes the same weights under other names and in other shapes: experts fused or one by one, query, key and value apart, ' +
    'diffusers or a single file. config.json is rewritten where it differs. terge inspect --layouts lists all layouts.',
  examples: [
    'Fuse the experts of a Mixtral model\n<%= config.bin %> convert ./mixtral -o ./fused --layout mixtral/transformers-5',
    'A single file for other programs, from a pipeline of diffusers\n<%= config.bin %> convert ./sd15 -o sd15.safetensors --layout sd15/original',
    'A file without a configuration\n<%= config.bin %> convert phi.safetensors -o parts.safetensors --layout phi3/parts --config ./config.json',
  ],
  args: { model: Args.string({ description: 'model file or folder', required: true, ignoreStdin: true }) },
  flags: {
    output: Flags.string({ char: 'o', helpValue: 'PATH', description: 'where to write', required: true }),
    layout: Flags.string({
      description: 'layout to write; several for tensors of several networks',
      helpValue: 'LAYOUT',
      required: true,
      multiple: true,
      multipleNonGreedy: true,
    }),
    from: Flags.string({
      description: 'layout of the model, if names and configuration do not make it certain',
      helpValue: 'LAYOUT',
      multiple: true,
      multipleNonGreedy: true,
    }),
    drop: onOff('drop tensors that the layout has no place for'),
    config: Flags.string({
      description: 'configuration for a model that has none, or a folder with the small files of a pipeline',
      helpValue: 'FILE|FOLDER',
    }),
    ...commonFlags,
  },
  async execute({ args, flags }) {
    const { output, layout, from, drop, config } = flags
    await startEarly(flags)
    const { conversionRecipe, plan } = await import('../index.js')
    const text = conversionRecipe({ model: args.model, output, layout, drop, ...given({ from, config }) })
    const lines = text.split('\n')
    const shown = (diagnostic: Diagnostic) => onFlag(lines.indexOf('output:') + 1, diagnostic)
    const found = await plan('(one line)', { text }).catch((error: unknown) => {
      throw error instanceof Fault ? new Fault(error.diagnostics.map(shown), error.exit) : error
    })
    await perform({ ...found, diagnostics: found.diagnostics.map(shown) }, { ...flags, 'allow-commands': false })
    return 0
  },
})
