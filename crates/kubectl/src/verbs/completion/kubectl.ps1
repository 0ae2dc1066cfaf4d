# powershell completion for kubectl

Register-ArgumentCompleter -Native -CommandName 'kubectl' -ScriptBlock {
    param($WordToComplete, $CommandAst, $CursorPosition)
    $words = @($CommandAst.CommandElements | ForEach-Object { $_.ToString() })
    $program = $words[0]
    $arguments = @($words | Select-Object -Skip 1)
    if ($WordToComplete -eq '') { $arguments += '' }
    $answer = @(& $program __complete @arguments 2>$null)
    if ($answer.Count -eq 0) { return }
    $answer | Select-Object -SkipLast 1 | ForEach-Object {
        $name, $about = $_ -split "`t", 2
        if (-not $about) { $about = $name }
        [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $about)
    }
}
