package resource

import "time"

// TimeFormat is the API's time format (api-contract section 9), always UTC.
const TimeFormat = "2006-01-02 15:04:05.000000"

// FormatTime writes t as the API does.
func FormatTime(t time.Time) string { return t.UTC().Format(TimeFormat) }
