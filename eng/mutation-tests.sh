#!/usr/bin/env bash
# Changes the code in small ways, one change ("mutant") a run of the tests, and lists the changes that no test notices.
#
#   eng/mutation-tests.sh [GROUP...]      settings, schedule, tokenizers, formats; all of them without a name
#
# Survivors and the score of each file go to stdout, the reports to artifacts/mutation/GROUP/reports.
# CONCURRENCY=2 runs two mutants at a time. Stryker is a dotnet tool and goes to artifacts/mutation/tool.
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
source "$root/eng/bootstrap.sh"
version=5.1.0
output=$root/artifacts/mutation
tool=$output/tool/$version

# mutate GROUP PROJECT TESTS CLASSES FILE...: CLASSES are the test classes that run, separated by |.
mutate() {
    local group=$1 project=$2 tests=$3 filter=FullyQualifiedName~.${4//|/.|FullyQualifiedName~.}. file
    local arguments=()
    for file in "${@:5}"; do
        arguments+=(--mutate "**/$file")
    done
    say "Mutating $group ..."
    (cd "$root/tests/$tests" && "$tool/dotnet-stryker" --test-runner mtp --configuration Release --project "$project.csproj" "${arguments[@]}" \
        --config-file "$output/stryker.json" --test-case-filter "$filter" --concurrency "${CONCURRENCY:-1}" --reporter ClearText --reporter Html --reporter Json \
        --output "$output/$group" --skip-version-check --verbosity warning)
}

settings() {
    mutate settings PyramidFlow PyramidFlow.Tests 'SettingsTableTests|SettingTypeTests|PromptScheduleTests' Generation/{SettingsTable,Setting,PromptSchedule}.cs
}

schedule() {
    mutate schedule PyramidFlow PyramidFlow.Tests 'BlockNoiseTests|CleanGuessTests|FlowSolverTests|SchedulerGoldenTests' 'Scheduling/**/*.cs'
}

tokenizers() {
    mutate tokenizers PyramidFlow PyramidFlow.Tests 'HostileTokenizerFileTests|WordTokenizerFilesTests|TokenizerGoldenTests|TokenizerLimitsTests|SentencePieceModelTests' \
        Tokenizers/{TokenizerFile,T5Files,AddedTokens}.cs
}

formats() {
    mutate formats PyramidFlow.Torch PyramidFlow.Torch.Tests 'StrictTextTests|PlainNumberTests|StrictJsonTests|ReadableJsonTests|SafetensorsTests' \
        Formats/{StrictText,PlainNumber,StrictJson}.cs Checkpoints/SafetensorsFile.cs
}

groups=("$@")
[[ $# -gt 0 ]] || groups=(settings schedule tokenizers formats)
for group in "${groups[@]}"; do
    [[ $group =~ ^(settings|schedule|tokenizers|formats)$ ]] || { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2; exit 2; }
done
bootstrap tests/PyramidFlow.Tests tests/PyramidFlow.Torch.Tests
[[ -x $tool/dotnet-stryker ]] || dotnet tool install dotnet-stryker --version "$version" --tool-path "$tool" >&2
# Texts are messages and help: tests compare those that matter, and a mutant of each of the others only adds noise.
# A mutant that runs out of time counts as noticed: the time is long, so that a busy machine notices none by itself.
printf '%s\n' '{"stryker-config": {"ignore-mutations": ["string"], "additional-timeout": 30000}}' >"$output/stryker.json"
for group in "${groups[@]}"; do
    "$group"
done
