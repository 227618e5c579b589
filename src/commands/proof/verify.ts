import { formatSize } from '../../core/sizes.js'
import { counted } from '../../core/words.js'
import type { Verified } from '../../index.js'
import { printable, toJson } from '../../ui/text.js'
import { defineCommand } from '../support/command.js'
import { Args, chosenFormat, Flags, machineFlags, onOff, recipeFolder, resultFlags } from '../support/flags.js'
import { given } from '../support/options.js'
import { threadsOf, withProgress } from '../support/perform.js'
import { complain, print } from '../support/print.js'

export const verify = defineCommand({
  id: 'verify',
  summary: 'Check that files still match a lineage, a lock or a signature.',
  description:
    'Reads the outputs and inputs that the lineage lists and compares their digests. --reproduce also runs the recipe again ' +
    'and compares every byte. For a lock, compares the models with it. --key checks a signature in the format of OpenSSF Model Signing, also without a lineage, and those of inputs. ' +
    'Exits with 1 if anything differs.',
  examples: [
    '<%= config.bin %> verify merged',
    'Run the recipe again and compare\n<%= config.bin %> verify merged.safetensors --reproduce',
    'Check a signature\n<%= config.bin %> verify merged --key key.pub.pem',
    'Check a lock, its signature and its models\n<%= config.bin %> verify recipe.yml.lock --key key.pub.pem',
  ],
  args: {
    lineage: Args.string({
      description: 'lineage file, output folder, checkpoint file or lock',
      required: true,
      ignoreStdin: true,
    }),
  },
  flags: {
    reproduce: onOff('run the recipe again and compare every byte'),
    'allow-commands': onOff('with --reproduce: also run the recipe’s evaluate commands'),
    key: Flags.string({ description: 'check the signature with this public key in PEM', helpValue: 'FILE' }),
    certificate: Flags.string({
      description: 'check the signature by its certificates, which must lead to one in this PEM file',
      helpValue: 'FILE',
    }),
    signature: Flags.string({
      description: 'signature (default: model.sig in the folder, or NAME.sig next to a file)',
      helpValue: 'FILE',
    }),
    ignore: Flags.string({
      description:
        'path in the folder whose files need no signature: one that the signer ignored with model_signing before 1.1',
      helpValue: 'PATH',
      multiple: true,
      multipleNonGreedy: true,
    }),
    'recipe-folder': recipeFolder,
    ...machineFlags,
    ...resultFlags,
  },
  async execute({ args, flags }) {
    const json = chosenFormat(flags, 'text') === 'json'
    const terge = await import('../../index.js')
    const result = await withProgress(
      json,
      (listen, signal) =>
        terge.verify(args.lineage, {
          reproduce: flags.reproduce,
          allowCommands: flags['allow-commands'],
          threads: threadsOf(flags),
          ...given({ memory: flags.memory, recipeFolder: flags['recipe-folder'] }),
          ...given({
            key: flags.key,
            certificate: flags.certificate,
            signature: flags.signature,
            ignore: flags.ignore,
          }),
          listen,
          signal,
        }),
      flags.reproduce ? ['checking', 'merging again', 'comparing'] : ['checking'],
    )
    const { ok, problems, checked } = result
    if (json) print(toJson(result))
    else {
      complain(problems)
      const errors = problems.filter(({ severity }) => severity === 'error').length
      const what = `${counted(checked.files, 'file')}, ${formatSize(checked.bytes)}`
      const again = result.reproduced === true ? '; a second run produced the same bytes' : ''
      const provenance = result.attested ? ', and the signed provenance is about these files' : ''
      const signature = result.signed ? `; the signature is valid${provenance}${inputsText(result.inputs)}` : ''
      print(ok ? `unchanged: ${what}${again}${signature}` : `${counted(errors, 'difference')}; checked ${what}`)
    }
    return ok ? 0 : 1
  },
})

const STATES = [
  ['valid', 'signed inputs'],
  ['unchecked', 'inputs with a signature that was not checked'],
  ['unsigned', 'inputs without a signature'],
  ['missing', 'inputs that are not here'],
] as const

/** What became of the signatures of inputs. Those that are not valid are reported by themselves. */
function inputsText(inputs: Verified['inputs'] = {}): string {
  const texts = STATES.flatMap(([state, words]) => {
    const names = Object.keys(inputs).filter((name) => inputs[name] === state)
    return names.length === 0 ? [] : [`; ${words}: ${printable(names.join(', '))}`]
  })
  return texts.join('')
}
