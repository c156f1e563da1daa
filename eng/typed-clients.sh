#!/usr/bin/env bash
# Makes typed clients from the OpenAPI document of a running service with Kiota, NSwag and openapi-typescript, compiles them, and makes three calls with each.
# Needs NuGet, npm and a built command line; takes about a minute.
#
#   eng/typed-clients.sh             PYRAMIDFLOW="dotnet .../PyramidFlow.Cli.dll" takes a build as it is
set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 KIOTA_CLI_TELEMETRY_OPTOUT=true LC_ALL=C.UTF-8
read -ra command <<<"${PYRAMIDFLOW:-$root/pyramidflow}"
work=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT

quiet() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }

key=$("${command[@]}" keys add clients --data "$work/data" | grep -oE 'pf_[A-Za-z0-9_-]+' | head -1)
"${command[@]}" serve --no-worker --port 0 --data "$work/data" >"$work/serve" 2>&1 &
server=$!
until url=$(grep -oE 'http://[0-9.:]+' "$work/serve"); do
    kill -0 "$server" || { cat "$work/serve" >&2; exit 1; }
    sleep 0.2
done
curl -sf -H "Authorization: Bearer $key" "$url/openapi/v1.json" >"$work/service.json"

cat >"$work/Directory.Build.props" <<XML
<Project><PropertyGroup>
  <TargetFramework>net10.0</TargetFramework><OutputType>Exe</OutputType><ImplicitUsings>enable</ImplicitUsings><Nullable>enable</Nullable>
  <NoWarn>\$(NoWarn);CS8604;CS8600;CS8603;CS8618;CS8625;CS8765;CS0618</NoWarn>
</PropertyGroup></Project>
XML
for tool in kiota nswag; do
    mkdir "$work/$tool"
    cp "$root/eng/typed-clients/$tool.cs" "$work/$tool/Program.cs"
done

quiet dotnet tool install Microsoft.OpenApi.Kiota --version 1.38.0 --tool-path "$work/tools"
quiet "$work/tools/kiota" generate --language CSharp --openapi "$work/service.json" --output "$work/kiota/client" --class-name PyramidFlowClient --namespace-name PyramidFlow.Client --log-level Warning
echo '<Project Sdk="Microsoft.NET.Sdk"><ItemGroup>' >"$work/kiota/kiota.csproj"
for part in Abstractions Http.HttpClientLibrary Serialization.Form Serialization.Json Serialization.Multipart Serialization.Text; do
    echo "<PackageReference Include=\"Microsoft.Kiota.$part\" Version=\"2.1.6\" />" >>"$work/kiota/kiota.csproj"
done
echo '</ItemGroup></Project>' >>"$work/kiota/kiota.csproj"

quiet dotnet tool install NSwag.ConsoleCore --version 14.7.1 --tool-path "$work/tools"
quiet "$work/tools/nswag" openapi2csclient "/input:$work/service.json" "/output:$work/nswag/Client.cs" /namespace:PyramidFlow.Client /classname:PyramidFlowClient
# System.Text.Json would write the names of C# in place of the words of an enum.
echo '<Project Sdk="Microsoft.NET.Sdk"><ItemGroup><PackageReference Include="Newtonsoft.Json" Version="13.0.4" /></ItemGroup></Project>' >"$work/nswag/nswag.csproj"

for tool in kiota nswag; do
    quiet dotnet build -c Release -v quiet -clp:NoSummary "$work/$tool"
    dotnet "$work/$tool/bin/Release/net10.0/$tool.dll" "$url" "$key"
    echo "$tool: a client was made, compiled and used"
done

mkdir "$work/typescript"
cd "$work/typescript"
cp "$root/eng/typed-clients/client.ts" .
echo '{"private": true, "type": "module"}' >package.json
quiet npm install --no-audit --no-fund --no-package-lock --loglevel error openapi-typescript@7.13.0 openapi-fetch@0.17.0 typescript@5 @types/node@20
quiet npx openapi-typescript "$work/service.json" -o service.d.ts
quiet npx tsc --strict --target es2022 --module nodenext --moduleResolution nodenext --skipLibCheck client.ts
node client.js "$url" "$key"
echo "openapi-typescript: a client was made, compiled and used"
