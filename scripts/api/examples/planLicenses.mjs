import { plan, planLicenses } from 'terge'

for (const { model, terms } of planLicenses(await plan('average.yml'))) console.log(model, terms)
