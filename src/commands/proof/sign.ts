import { counted } from '../../core/words.js'
import { printable, toJson } from '../../ui/text.js'
import { defineCommand } from '../support/command.js'
import { writeText } from '../support/files.js'
import { Args, chosenFormat, Flags, onOff, resultFlags } from '../support/flags.js'
import { given } from '../support/options.js'
import { withProgress } from '../support/perform.js'
import { print } from '../support/print.js'

export const sign = defineCommand({
  id: 'sign',
  summary: 'Sign a model or a lock, in the format of OpenSSF Model Signing.',
  description:
    'Writes model.sig into the folder, or NAME.sig next to a file. It lists all files with their SHA-256, and is signed with the ' +
    'private key. terge verify --key and the model_signing tool check it. Files of git are not covered.',
  examples: [
    '<%= config.bin %> sign merged --key key.pem',
    'Also sign where it came from\n<%= config.bin %> sign merged --key key.pem --attest',
    'Sign a lock\n<%= config.bin %> sign recipe.yml.lock --key key.pem',
    'Check it\n<%= config.bin %> verify merged --key key.pub.pem',
    'Make a pair of keys\nopenssl ecparam -name prime256v1 -genkey -noout -out key.pem && openssl ec -in key.pem -pubout -out key.pub.pem',
  ],
  args: { model: Args.string({ description: 'output folder, file or lock', required: true, ignoreStdin: true }) },
  flags: {
    key: Flags.string({ description: 'private key: PEM, P-256, P-384 or P-521', helpValue: 'FILE', required: true }),
    ignore: Flags.string({
      description: 'path in the folder that the signature does not cover',
      helpValue: 'PATH',
      multiple: true,
      multipleNonGreedy: true,
    }),
    attest: onOff(
      'also sign SLSA provenance made from the lineage: provenance.sig, or NAME.provenance.sig next to a file',
    ),
    force: onOff('replace an existing signature'),
    ...resultFlags,
  },
  async execute({ args, flags }) {
    const json = chosenFormat(flags, 'text') === 'json'
    const terge = await import('../../index.js')
    const signed = await withProgress(
      json,
      (listen, signal) =>
        terge.sign(args.model, {
          key: flags.key,
          attest: flags.attest,
          force: flags.force,
          ...given({ ignore: flags.ignore }),
          listen,
          signal,
        }),
      ['signing'],
    )
    const { attestation } = signed
    // The model's signature comes last: it does not cover the other one.
    if (attestation) await writeText(attestation.path, attestation.text, { force: flags.force })
    await writeText(signed.path, signed.text, { force: flags.force })
    if (json) print(toJson({ path: signed.path, files: signed.files, ...given({ attestation: attestation?.path }) }))
    else {
      print(`wrote ${printable(signed.path)}: signs ${counted(signed.files, 'file')}`)
      if (attestation) print(`wrote ${printable(attestation.path)}: signed provenance`)
    }
    return 0
  },
})
